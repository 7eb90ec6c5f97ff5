package transfer

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// aTree makes a folder "tree" with a few files, and returns where it is.
func aTree(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "tree")
	for name, size := range map[string]int{"a.jpg": 10, "b.txt": 2*ChunkLen + 1, "sub/c.jpg": ChunkLen, "sub/d.txt": 5, "sub/empty": 0} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content(size), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../b.txt", filepath.Join(root, "sub", "link")); err != nil {
		t.Fatal(err)
	}
	return root
}

// under lists the files and links below a folder.
func under(t *testing.T, root string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(root, path)
			list = append(list, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestOnly: what was chosen comes, with the folders that lead to it; the rest stays, and both sides say how much that is.
func TestOnly(t *testing.T) {
	for _, c := range []struct {
		name  string
		only  []string
		want  []string
		files int   // not taken
		bytes int64 // of them
	}{
		{"by name", []string{"*.jpg"}, []string{"tree/a.jpg", "tree/sub/c.jpg"}, 2, 2*ChunkLen + 6},
		{"by path", []string{"sub/d.txt"}, []string{"tree/sub/d.txt"}, 3, 3*ChunkLen + 11},
		{"by path from the root", []string{"tree/b.txt"}, []string{"tree/b.txt"}, 3, ChunkLen + 15},
		{"a folder", []string{"sub"}, []string{"tree/sub/c.jpg", "tree/sub/d.txt", "tree/sub/empty", "tree/sub/link"}, 2, 2*ChunkLen + 11},
		{"several", []string{"empty", "a.*"}, []string{"tree/a.jpg", "tree/sub/empty"}, 3, 3*ChunkLen + 6},
		{"all of it", []string{"tree"}, []string{"tree/a.jpg", "tree/b.txt", "tree/sub/c.jpg", "tree/sub/d.txt", "tree/sub/empty", "tree/sub/link"}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := openDir(t)
			a, b := memPipe("")
			mine, theirs := new(Progress), new(Progress)
			sent := send(t.Context(), a, sourceOf(t, aTree(t)), SendOptions{Progress: theirs})
			in, err := ReadOffer(t.Context(), b, ReceiveOptions{Progress: mine})
			if err != nil {
				t.Fatal(err)
			}
			res, err := in.Accept(t.Context(), dir, AcceptOptions{Only: c.only})
			if out := <-sent; err != nil || out.err != nil {
				t.Fatal(err, out.err)
			} else if out.res.Digest != res.Digest {
				t.Error("the sides have other digests")
			}
			if got := under(t, dir.Path()); !slices.Equal(got, c.want) {
				t.Errorf("stored %q, want %q", got, c.want)
			}
			for who, p := range map[string]*Progress{"receiver": mine, "sender": theirs} {
				if bytes, files := p.Unwanted(); bytes != c.bytes || files != c.files {
					t.Errorf("%s: %d files of %d bytes are not taken, want %d of %d", who, files, bytes, c.files, c.bytes)
				}
				if got, want := p.Bytes(), in.Offer().Size-c.bytes; got != want {
					t.Errorf("%s moved %d bytes, want %d", who, got, want)
				}
			}
		})
	}
}

// TestOnlyNothing: patterns that match nothing decline the offer; a sender that gives all or nothing is told that it is of another version.
func TestOnlyNothing(t *testing.T) {
	dir := openDir(t)
	a, b := memPipe("")
	sent := send(t.Context(), a, sourceOf(t, aTree(t)), SendOptions{})
	_, err := receive(t.Context(), b, dir, AcceptOptions{Only: []string{"*.png"}})
	wantKind(t, "receiver", err, ErrDeclined, Local)
	wantKind(t, "sender", (<-sent).err, ErrDeclined, Remote)
	wantEmpty(t, dir)

	a, b = memPipe("")
	src := sourceOf(t, aTree(t))
	h := header{
		Offer:   Offer{ID: testID, Name: "tree", Size: src.Size(), Entries: len(src.Entries())},
		version: wireVersion, manifest: int64(len(src.m.raw)), chunkLen: ChunkLen, digest: digestName,
	}
	go func() { _, _ = a.Write(append(appendHeader(nil, h), src.m.raw...)) }()
	_, err = receive(t.Context(), b, dir, AcceptOptions{Only: []string{"*.jpg"}})
	wantKind(t, "receiver", err, ErrVersion, Local)
	if CheckPatterns([]string{"["}) == nil || CheckPatterns([]string{""}) == nil || CheckPatterns(make([]string, maxOnly+1)) == nil {
		t.Error("a bad pattern is taken")
	}
}

// TestOnlyResumed: a part that was chosen goes on where it was, like the whole would.
func TestOnlyResumed(t *testing.T) {
	dir, root := openDir(t), aTree(t)
	path := filepath.Join(t.TempDir(), "journal")
	opt := func() AcceptOptions {
		j, err := OpenJournal(path, [32]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		return AcceptOptions{Journal: j, Only: []string{"*.txt"}}
	}
	a, b := memPipe("")
	sent := send(t.Context(), &cutStream{Stream: a, after: 2*ChunkLen + 400}, sourceOf(t, root), SendOptions{ID: testID})
	first := opt()
	if _, err := receive(t.Context(), b, dir, first); err == nil || (<-sent).err == nil {
		t.Fatal("it was not interrupted")
	}
	had := first.Journal.Bytes()
	first.Journal.Close()
	a, b = memPipe("")
	progress := new(Progress)
	sent = send(t.Context(), a, sourceOf(t, root), SendOptions{ID: testID, Progress: progress})
	second := opt()
	_, err := receive(t.Context(), b, dir, second)
	second.Journal.Close()
	if out := <-sent; err != nil || out.err != nil {
		t.Fatal(err, out.err)
	}
	if got := under(t, dir.Path()); !slices.Equal(got, []string{"tree/b.txt", "tree/sub/d.txt"}) {
		t.Errorf("stored %q", got)
	}
	if had < ChunkLen || progress.Start() != had {
		t.Errorf("%d bytes were there, the second run began at %d", had, progress.Start())
	}
}

// cutStream resets itself after so many bytes were written.
type cutStream struct {
	Stream
	after int
}

func (c *cutStream) Write(b []byte) (int, error) {
	n := min(len(b), max(c.after, 0))
	n, err := c.Stream.Write(b[:n])
	if c.after -= n; c.after <= 0 && err == nil {
		_ = c.Reset(codeOf(ErrInterrupted), "cut")
		err = errors.New("cut")
	}
	return n, err
}

// TestExisting: what becomes of names that are taken, for a file, for a folder and for what is in it, and for a name that something of another
// kind has.
func TestExisting(t *testing.T) {
	old := []byte("old")
	for _, c := range []struct {
		name     string
		existing Existing
		there    []string // files with old in them; a name with / at its end is a folder
		want     []string // all that is there afterwards
		kept     []string // of those, what is still old
		names    string
		unwanted int
	}{
		{"rename", Rename, []string{"tree/a.jpg"}, []string{"tree (1)/a.jpg", "tree (1)/b.txt", "tree (1)/sub/c.jpg", "tree (1)/sub/d.txt", "tree (1)/sub/empty", "tree (1)/sub/link", "tree/a.jpg"}, []string{"tree/a.jpg"}, "tree (1)", 0},
		{"overwrite", Overwrite, []string{"tree/a.jpg", "tree/mine", "tree/sub/link"}, []string{"tree/a.jpg", "tree/b.txt", "tree/mine", "tree/sub/c.jpg", "tree/sub/d.txt", "tree/sub/empty", "tree/sub/link"}, []string{"tree/mine"}, "tree", 0},
		{"skip", Skip, []string{"tree/a.jpg", "tree/sub/d.txt", "tree/mine"}, []string{"tree/a.jpg", "tree/b.txt", "tree/mine", "tree/sub/c.jpg", "tree/sub/d.txt", "tree/sub/empty", "tree/sub/link"}, []string{"tree/a.jpg", "tree/mine", "tree/sub/d.txt"}, "tree", 2},
		{"skip where a file has a folder's name", Skip, []string{"tree/sub"}, []string{"tree/a.jpg", "tree/b.txt", "tree/sub"}, []string{"tree/sub"}, "tree", 2},
		{"overwrite where a file has the root's name", Overwrite, []string{"tree"}, []string{"tree", "tree (1)/a.jpg", "tree (1)/b.txt", "tree (1)/sub/c.jpg", "tree (1)/sub/d.txt", "tree (1)/sub/empty", "tree (1)/sub/link"}, []string{"tree"}, "tree (1)", 0},
		{"overwrite where nothing is there", Overwrite, nil, []string{"tree/a.jpg", "tree/b.txt", "tree/sub/c.jpg", "tree/sub/d.txt", "tree/sub/empty", "tree/sub/link"}, nil, "tree", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := openDir(t)
			for _, name := range c.there {
				path := filepath.Join(dir.Path(), name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, old, 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			a, b := memPipe("")
			progress := new(Progress)
			sent := send(t.Context(), a, sourceOf(t, aTree(t)), SendOptions{Progress: progress})
			res, err := receive(t.Context(), b, dir, AcceptOptions{Existing: c.existing})
			if out := <-sent; err != nil || out.err != nil {
				t.Fatal(err, out.err)
			}
			got := under(t, dir.Path())
			var kept []string
			for _, name := range got {
				if raw, _ := os.ReadFile(filepath.Join(dir.Path(), name)); bytes.Equal(raw, old) {
					kept = append(kept, name)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) || !slices.Equal(kept, c.kept) || strings.Join(res.Names, " ") != c.names {
				t.Errorf("there is %q\nwant     %q\nold are %q, want %q; stored as %q", got, c.want, kept, c.kept, res.Names)
			}
			if _, files := progress.Unwanted(); files != c.unwanted {
				t.Errorf("the sender says that %d files were not taken, want %d", files, c.unwanted)
			}
		})
	}
}

// TestExistingFile: the same for a single file, and that a folder in the way of a file inside another refuses the offer before anything is sent.
func TestExistingFile(t *testing.T) {
	for existing, want := range map[Existing]string{Rename: "old", Overwrite: "new", Skip: "old"} {
		dir := openDir(t)
		if err := os.WriteFile(filepath.Join(dir.Path(), "f"), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		a, b := memPipe("")
		sent := send(t.Context(), a, sourceOf(t, writeFile(t, "f", []byte("new"))), SendOptions{})
		_, err := receive(t.Context(), b, dir, AcceptOptions{Existing: existing})
		if out := <-sent; err != nil || out.err != nil {
			t.Fatal(err, out.err)
		}
		got, _ := os.ReadFile(filepath.Join(dir.Path(), "f"))
		if list := names(t, dir); string(got) != want || len(list) != 1+map[Existing]int{Rename: 1}[existing] {
			t.Errorf("%d: f is %q among %q", existing, got, list)
		}
	}
	dir := openDir(t)
	if err := os.MkdirAll(filepath.Join(dir.Path(), "tree", "a.jpg"), 0o700); err != nil {
		t.Fatal(err)
	}
	a, b := memPipe("")
	sent := send(t.Context(), a, sourceOf(t, aTree(t)), SendOptions{})
	_, err := receive(t.Context(), b, dir, AcceptOptions{Existing: Overwrite})
	wantKind(t, "receiver", err, ErrStorage, Local)
	wantKind(t, "sender", (<-sent).err, ErrStorage, Remote)
}

// TestMergeStaysInside: a link in the folder that is merged into leads nothing out of it.
func TestMergeStaysInside(t *testing.T) {
	dir, outside := openDir(t), t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir.Path(), "tree"), 0o700), os.Symlink(outside, filepath.Join(dir.Path(), "tree", "sub"))); err != nil {
		t.Fatal(err)
	}
	a, b := memPipe("")
	sent := send(t.Context(), a, sourceOf(t, aTree(t)), SendOptions{})
	_, err := receive(t.Context(), b, dir, AcceptOptions{Existing: Overwrite})
	if out := <-sent; err == nil || out.err == nil {
		t.Error("it was stored through a link")
	}
	if list, _ := os.ReadDir(outside); len(list) > 0 {
		t.Errorf("outside is %v", list)
	}
}

// TestNoteAndReadBack: the words reach whoever decides, and what is not on the disk as it came is not said to be stored.
func TestNoteAndReadBack(t *testing.T) {
	dir := openDir(t)
	a, b := memPipe("")
	sent := send(t.Context(), a, sourceOf(t, aTree(t)), SendOptions{Note: "für dich", ReadBack: true})
	in, err := ReadOffer(t.Context(), b, ReceiveOptions{})
	if err != nil || in.Offer().Note != "für dich" {
		t.Fatalf("the note is %q, %v", in.Offer().Note, err)
	}
	_, err = in.Accept(t.Context(), dir, AcceptOptions{})
	if out := <-sent; err != nil || out.err != nil {
		t.Fatal(err, out.err)
	}

	// A disk that has other bytes than were written.
	m := handMade(ChunkLen + 5)
	j := newJournal()
	p, err := dir.open(testID, m, j, AcceptOptions{}, true)
	if err != nil {
		t.Fatal(err)
	}
	for n, b := range [][]byte{content(ChunkLen), []byte("hello")} {
		if err := errors.Join(p.write(0, 0, int64(n)*ChunkLen, b), p.verified(0, uint32(n), plain(b))); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(p.settle(true), p.readBack(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir.Path(), p.name), content(ChunkLen+5), 0o600); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "reading back", p.readBack(t.Context()), ErrIntegrity, Local)
	if err := CheckNote(strings.Repeat("x", MaxNote)); err != nil {
		t.Error(err)
	}
	if CheckNote("a\nb") == nil || CheckNote(strings.Repeat("x", MaxNote+1)) == nil || CheckNote("\xff") == nil {
		t.Error("a bad note is taken")
	}
}
