package transfer

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// openJournal opens a journal that outlives the run.
func openJournal(t *testing.T, path string) *Journal {
	t.Helper()
	j, err := OpenJournal(path, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

// cut runs a transfer whose stream breaks after limit bytes of it have been read, and returns how both sides ended.
func cut(t *testing.T, src *Source, dir *Dir, up, down *Journal, limit int) (sender, receiver error) {
	t.Helper()
	a, b := memPipe(testID)
	sent := send(t.Context(), a, src, SendOptions{ID: testID, Journal: up})
	gate := gated(b, limit)
	in, err := ReadOffer(t.Context(), gate, ReceiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan error, 1)
	go func() {
		_, err := in.Accept(t.Context(), dir, AcceptOptions{Journal: down, NoSync: true})
		received <- err
	}()
	select {
	case <-gate.reached:
		a.fail(errors.New("link lost"))
		b.fail(errors.New("link lost"))
	case out := <-sent:
		close(gate.open)
		return out.err, <-received
	}
	close(gate.open)
	return (<-sent).err, <-received
}

// TestResume: a transfer that is cut again and again goes on where it was, sends nothing twice that was verified, and ends equal.
func TestResume(t *testing.T) {
	const size = 9*ChunkLen + 12345
	data := content(size)
	src := sourceOf(t, writeFile(t, "a file.bin", data))
	dir := openDir(t)
	state := t.TempDir()
	up, down := openJournal(t, filepath.Join(state, "up")), openJournal(t, filepath.Join(state, "down"))
	for range 4 {
		_, err := cut(t, src, dir, up, down, 2*ChunkLen+ChunkLen/3)
		if !errors.Is(err, ErrInterrupted) {
			t.Fatalf("receiver: %v", err)
		}
		before := down.Bytes()
		down.Close()
		down = openJournal(t, filepath.Join(state, "down"))
		if got := down.Bytes(); got != before {
			t.Fatalf("%d bytes are remembered of %d", got, before)
		}
	}
	if got := down.Bytes(); got != 8*ChunkLen {
		t.Errorf("%d bytes are here, want %d", got, 8*ChunkLen)
	}
	var p Progress
	a, b := memPipe(testID)
	sent := send(t.Context(), a, src, SendOptions{ID: testID, Journal: up, Progress: &p})
	res, err := receive(t.Context(), b, dir, AcceptOptions{Journal: down})
	if out := <-sent; err != nil || out.err != nil {
		t.Fatal(err, out.err)
	}
	got, err := os.ReadFile(filepath.Join(dir.Path(), res.Name))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("stored %d bytes, %v", len(got), err)
	}
	if p.Start() != 8*ChunkLen || p.Bytes() != size {
		t.Errorf("the last run began at %d and ended at %d", p.Start(), p.Bytes())
	}
	// Each cut lost what had come of one chunk.
	if got := p.Again(); got <= 0 || got > 4*ChunkLen {
		t.Errorf("%d bytes came for nothing", got)
	}
	if list := names(t, dir); len(list) != 1 {
		t.Errorf("left in the directory: %q", list)
	}
}

// TestResumeWithoutMemory: a sender that has lost its memory hashes again what it has sent, and sends nothing again.
func TestResumeWithoutMemory(t *testing.T) {
	data := content(5 * ChunkLen)
	src := sourceOf(t, writeFile(t, "f", data))
	dir := openDir(t)
	down := openJournal(t, filepath.Join(t.TempDir(), "down"))
	cut(t, src, dir, newJournal(), down, 3*ChunkLen)
	var p Progress
	a, b := memPipe(testID)
	sent := send(t.Context(), a, src, SendOptions{ID: testID, Progress: &p})
	_, err := receive(t.Context(), b, dir, AcceptOptions{Journal: down})
	if out := <-sent; err != nil || out.err != nil {
		t.Fatal(err, out.err)
	}
	if p.Start() != 2*ChunkLen {
		t.Errorf("began at %d", p.Start())
	}
}

// TestPowerCut: chunks noted before another boot count only when the disk has them.
func TestPowerCut(t *testing.T) {
	data := content(5 * ChunkLen)
	src := sourceOf(t, writeFile(t, "f", data))
	dir := openDir(t)
	path := filepath.Join(t.TempDir(), "down")
	down := openJournal(t, path)
	cut(t, src, dir, newJournal(), down, 4*ChunkLen+1000)
	down.append(recBoot, 0, [32]byte{9}) // the records that follow are of a boot that is not this one
	for n := range uint32(4) {
		down.add(n, down.sums[n])
	}
	down.Close()
	part := filepath.Join(dir.Path(), partPrefix+testID+partSuffix)
	file, err := os.OpenFile(part, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(make([]byte, 100), ChunkLen+5); err != nil { // the second chunk did not reach the disk
		t.Fatal(err)
	}
	file.Close()
	down = openJournal(t, path)
	var p Progress
	a, b := memPipe(testID)
	sent := send(t.Context(), a, src, SendOptions{ID: testID, Progress: &p})
	res, err := receive(t.Context(), b, dir, AcceptOptions{Journal: down})
	if out := <-sent; err != nil || out.err != nil {
		t.Fatal(err, out.err)
	}
	if p.Start() != 3*ChunkLen {
		t.Errorf("began with %d bytes, want %d", p.Start(), 3*ChunkLen)
	}
	got, err := os.ReadFile(filepath.Join(dir.Path(), res.Name))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("stored %d bytes, %v", len(got), err)
	}
}

// TestJournalIsSomebodyElses: an id that another device chose as well gets nothing of ours.
func TestJournalIsSomebodyElses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	openJournal(t, path).Close()
	if _, err := OpenJournal(path, [32]byte{2}); !errors.Is(err, ErrOwner) {
		t.Errorf("got %v", err)
	}
}

// makeTree makes a folder with everything an offer can have.
func makeTree(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "album")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(root, "sub", ".hidden"), 0o755))
	must(os.Mkdir(filepath.Join(root, "empty"), 0o755))
	for name, data := range map[string][]byte{
		"a.bin": content(ChunkLen + 1000), "sub/b.txt": []byte("b"), "sub/.hidden/c": content(5000), "none": nil,
		"sub/größe 100%:?.txt": []byte("utf-8"), "sub/latin1-\xf6.txt": []byte("latin-1"), "-rf": []byte("x"),
	} {
		must(os.WriteFile(filepath.Join(root, name), data, 0o644))
	}
	must(os.Chmod(filepath.Join(root, "a.bin"), 0o755))
	must(os.Chmod(filepath.Join(root, "sub/b.txt"), 0o400))
	must(os.Symlink("sub/b.txt", filepath.Join(root, "link")))
	must(os.Symlink("/etc/passwd", filepath.Join(root, "out")))
	must(os.Symlink("../../x", filepath.Join(root, "sub", "up")))
	for i, name := range []string{"a.bin", "sub/b.txt", "none", "sub/.hidden", "sub", "."} {
		when := time.Unix(1_600_000_000+int64(i), 123_000_000)
		must(os.Chtimes(filepath.Join(root, name), when, when))
	}
	return root
}

// tree lists what is below root, with what an offer carries.
func tree(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		b.WriteString(rel)
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			b.WriteString(" -> " + target)
		case d.IsDir():
			b.WriteString("/ " + info.ModTime().UTC().String())
		default:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b.WriteString(" " + info.Mode().String() + " " + info.ModTime().UTC().String() + " " + plain(data).String())
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestFolder: modes, times, names and links arrive; what leads out does not leave.
func TestFolder(t *testing.T) {
	root := makeTree(t)
	src := sourceOf(t, root)
	if src.Skipped() != 2 {
		t.Errorf("%d left out, want the two links that lead out", src.Skipped())
	}
	dir := openDir(t)
	a, b := memPipe("")
	sent := send(t.Context(), a, src, SendOptions{})
	res, err := receive(t.Context(), b, dir, AcceptOptions{})
	if out := <-sent; err != nil || out.err != nil {
		t.Fatal(err, out.err)
	}
	for _, name := range []string{"out", "sub/up"} {
		if err := os.Remove(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(root, "sub/latin1-\xf6.txt"), filepath.Join(root, "sub/latin1-_.txt")); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"sub/.hidden", "sub", "."} { // as makeTree set them
		when := time.Unix(1_600_000_000+int64(i)+3, 123_000_000)
		if err := os.Chtimes(filepath.Join(root, name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := tree(t, filepath.Join(dir.Path(), res.Name)), tree(t, root); got != want {
		t.Errorf("arrived:\n%s\nsent:\n%s", got, want)
	}
	if list := names(t, dir); len(list) != 1 {
		t.Errorf("left in the directory: %q", list)
	}
}

// TestFolderChanges between two runs: what stayed the same is not sent again, what went is not there, what is new is.
func TestFolderChanges(t *testing.T) {
	root := filepath.Join(t.TempDir(), "d")
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	write("a", content(2*ChunkLen))
	write("b", content(ChunkLen))
	write("c", content(2*ChunkLen))
	dir := openDir(t)
	state := t.TempDir()
	up, down := openJournal(t, filepath.Join(state, "up")), openJournal(t, filepath.Join(state, "down"))
	cut(t, sourceOf(t, root), dir, up, down, 4*ChunkLen)
	if got := down.Bytes(); got != 3*ChunkLen {
		t.Fatalf("%d bytes are here", got)
	}
	if err := os.Remove(filepath.Join(root, "b")); err != nil {
		t.Fatal(err)
	}
	write("aa", []byte("new"))
	write("c", []byte("shorter"))
	var p Progress
	a, b := memPipe(testID)
	sent := send(t.Context(), a, sourceOf(t, root), SendOptions{ID: testID, Journal: up, Progress: &p})
	res, err := receive(t.Context(), b, dir, AcceptOptions{Journal: down})
	if out := <-sent; err != nil || out.err != nil {
		t.Fatal(err, out.err)
	}
	if p.Start() != 2*ChunkLen {
		t.Errorf("began with %d bytes", p.Start())
	}
	if got, want := tree(t, filepath.Join(dir.Path(), res.Name)), tree(t, root); got != want {
		t.Errorf("arrived:\n%s\nis:\n%s", got, want)
	}
}

// TestSeveral: three named things in one offer, two of the same name.
func TestSeveral(t *testing.T) {
	one, two, three := writeFile(t, "f.txt", []byte("one")), writeFile(t, "f.txt", []byte("two")), makeTree(t)
	src, err := NewSource(one, two, three)
	if err != nil {
		t.Fatal(err)
	}
	dir := openDir(t)
	a, b := memPipe("")
	sent := send(t.Context(), a, src, SendOptions{})
	res, err := receive(t.Context(), b, dir, AcceptOptions{})
	if out := <-sent; err != nil || out.err != nil {
		t.Fatal(err, out.err)
	}
	if got := strings.Join(res.Names, " "); got != "f.txt f (1).txt album" {
		t.Errorf("stored as %s", got)
	}
	if got, _ := os.ReadFile(filepath.Join(dir.Path(), "f (1).txt")); string(got) != "two" {
		t.Errorf("the second is %q", got)
	}
}

// TestPause: who pauses, by the cause of the context's end, is told apart from who cancels, and what has come stays.
func TestPause(t *testing.T) {
	src := sourceOf(t, writeFile(t, "f", content(big)))
	dir := openDir(t)
	down := openJournal(t, filepath.Join(t.TempDir(), "down"))
	ctx, pause := context.WithCancelCause(t.Context())
	a, b := memPipe(testID)
	sent := send(ctx, a, src, SendOptions{ID: testID})
	gate := gated(b, 2*ChunkLen)
	in, err := ReadOffer(t.Context(), gate, ReceiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan error, 1)
	go func() {
		_, err := in.Accept(t.Context(), dir, AcceptOptions{Journal: down})
		received <- err
	}()
	<-gate.reached
	pause(ErrPaused)
	wantKind(t, "sender", (<-sent).err, ErrPaused, Local)
	close(gate.open)
	wantKind(t, "receiver", <-received, ErrPaused, Remote)
	if got := down.Bytes(); got != ChunkLen {
		t.Errorf("%d bytes are kept", got)
	}
	if n, err := dir.Collect(func(id string) bool { return id == testID }); n != 0 || err != nil {
		t.Errorf("collected %d, %v", n, err)
	}
	if n, err := dir.Collect(func(string) bool { return false }); n != 1 || err != nil {
		t.Errorf("collected %d, %v", n, err)
	}
	wantEmpty(t, dir)
}
