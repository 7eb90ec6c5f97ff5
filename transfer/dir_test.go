package transfer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestLinkName: the way without renameat2 does not replace either.
func TestLinkName(t *testing.T) {
	dir := openDir(t)
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir.Path(), name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := dir.linkName("a", "b"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("onto a name that is taken: %v", err)
	}
	if err := dir.rename("a", "b"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("rename onto a name that is taken: %v", err)
	}
	if err := dir.linkName("a", "c"); err != nil {
		t.Error(err)
	}
	if got := strings.Join(names(t, dir), " "); got != "b c" {
		t.Errorf("directory has %q", got)
	}
}

// TestSymlinkAtTheName: a link that leads out of the directory is a name that is
// taken, not a way out.
func TestSymlinkAtTheName(t *testing.T) {
	dir := openDir(t)
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.Symlink(victim, filepath.Join(dir.Path(), "a.txt")); err != nil {
		t.Fatal(err)
	}
	a, b := memPipe("")
	sent := send(t.Context(), a, sourceOf(t, writeFile(t, "a.txt", []byte("x"))), SendOptions{})
	res, err := receive(t.Context(), b, dir, AcceptOptions{})
	if out := <-sent; err != nil || out.err != nil {
		t.Fatal(err, out.err)
	}
	if res.Name != "a (1).txt" {
		t.Errorf("stored as %q", res.Name)
	}
	if _, err := os.Lstat(victim); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is at the link's target: %v", err)
	}
}

// TestSweep: what a crash left is removed a day later; what is on its way stays.
func TestSweep(t *testing.T) {
	dir := openDir(t)
	old := time.Now().Add(-staleAfter - time.Hour)
	for name, mod := range map[string]time.Time{
		partPrefix + "old" + partSuffix: old,
		partPrefix + "new" + partSuffix: time.Now(),
		"old file":                      old,
	} {
		path := filepath.Join(dir.Path(), name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, mod, mod); err != nil {
			t.Fatal(err)
		}
	}
	again, err := OpenDir(dir.Path())
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if got := strings.Join(names(t, dir), " "); got != partPrefix+"new"+partSuffix+" old file" {
		t.Errorf("left: %s", got)
	}
}

// TestDirThatIsNone: a file, and a place that cannot be made.
func TestDirThatIsNone(t *testing.T) {
	file := writeFile(t, "f", nil)
	for _, path := range []string{file, filepath.Join(file, "below")} {
		_, err := OpenDir(path)
		wantKind(t, "OpenDir", err, ErrStorage, Local)
	}
}

// TestDirVanishes between the offer and its acceptance: the sender is told.
func TestDirVanishes(t *testing.T) {
	dir := openDir(t)
	a, b := memPipe("")
	sent := send(t.Context(), a, sourceOf(t, writeFile(t, "f", content(10))), SendOptions{})
	if err := os.RemoveAll(dir.Path()); err != nil {
		t.Fatal(err)
	}
	_, err := receive(t.Context(), b, dir, AcceptOptions{})
	wantKind(t, "receiver", err, ErrStorage, Local)
	wantKind(t, "sender", (<-sent).err, ErrStorage, Remote)
}

// TestReserve: an offer that would eat the reserve is declined before a byte of it
// moves.
func TestReserve(t *testing.T) {
	dir := openDir(t)
	_, total, ok := dir.space()
	if !ok {
		t.Skip("this file system does not say how much is free")
	}
	for _, test := range []struct {
		size    int64
		minFree int64
		kind    error
	}{
		{1 << 45, 0, ErrStorage}, // an empty disk would not do
		{10, 1 << 62, ErrStorage},
		{10, total - 1<<20, ErrNoSpace},
	} {
		a, b := memPipe("")
		peer := rawPeer{t, a}
		peer.write(goodHeader(test.size))
		_, err := receive(t.Context(), b, dir, AcceptOptions{MinFree: test.minFree})
		wantKind(t, "receiver", err, test.kind, Local)
		if got, want := peer.readAll(), fmt.Sprintf("NGO %s %d bytes needed", wordOf(test.kind), test.size); !strings.HasPrefix(got, want) {
			t.Errorf("the sender is told %q, want %q and what there is", got, want)
		}
		wantEmpty(t, dir)
	}
}

// TestGoodSources: links to regular files are followed, and lend their name.
func TestGoodSources(t *testing.T) {
	path := writeFile(t, "f", content(10))
	soft, hard := path+" soft", path+" hard"
	if err := errors.Join(os.Symlink(path, soft), os.Link(path, hard)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{soft, hard} {
		src := sourceOf(t, path)
		if src.Name() != filepath.Base(path) || src.Size() != 10 {
			t.Errorf("offered as %q, %d bytes", src.Name(), src.Size())
		}
	}
}

// TestSizeThatLies: /proc says 0 bytes and has more.
func TestSizeThatLies(t *testing.T) {
	src, err := NewSource("/proc/self/status")
	if err != nil {
		t.Skip("no /proc here: ", err)
	}
	defer src.Close()
	a, b := memPipe("")
	_, err = Send(t.Context(), a, src, SendOptions{})
	wantKind(t, "sender", err, ErrChanged, Local)
	if got := (rawPeer{t, b}).readAll(); got != "" {
		t.Errorf("sent %q", got)
	}
}

// TestSourceIsBusy: one Send at a time.
func TestSourceIsBusy(t *testing.T) {
	src := sourceOf(t, writeFile(t, "f", content(10)))
	a, b := memPipe("")
	sent := send(t.Context(), a, src, SendOptions{})
	in, err := ReadOffer(t.Context(), b, ReceiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c, _ := memPipe("")
	_, err = Send(t.Context(), c, src, SendOptions{})
	wantKind(t, "second sender", err, ErrSource, Local)
	in.Cancel()
	<-sent
}

// TestExclude: patterns match a name, or a path below the folder that is named; one that is none is said to be so.
func TestExclude(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	for _, name := range []string{"a.o", "a", "sub/b.o", "sub/b", "sub/deep/c", "deep"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	src, err := NewSourceWithout([]string{"*.o", "sub/deep"}, dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range src.Entries() {
		got = append(got, e.Path)
	}
	if want := []string{"d", "d/a", "d/deep", "d/sub", "d/sub/b"}; !slices.Equal(got, want) {
		t.Errorf("offered %q, want %q", got, want)
	}
	_, err = NewSourceWithout([]string{"["}, dir)
	wantKind(t, "a bad pattern", err, ErrSource, Local)
}
