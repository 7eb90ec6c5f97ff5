package transfer

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// What is on its way is a file or folder called .traverse-<transfer id or random>.part. No name that SafeName
	// makes begins with a dot, so a peer cannot choose such a name.
	partPrefix = ".traverse-"
	partSuffix = ".part"

	// staleAfter is the age at which OpenDir removes what a crash left of transfers without a journal, which do not go
	// a day without writing, as StallTimeout ends them. Those with one are for Collect.
	staleAfter = 24 * time.Hour

	// maxTwins bounds the search for "name (n)".
	maxTwins = 1000
)

// A Dir is a directory that received files are stored in, and nothing outside of
// it: no name and no symbolic link leads out. It is safe for concurrent use, by
// several processes too.
type Dir struct {
	root *os.Root
	self *os.File // the directory, for fsync, statfs and renameat2

	mu       sync.Mutex // guards the field below
	promised int64      // bytes that files on their way have yet to write
}

// OpenDir opens the directory at path, makes it if it is missing, and removes the
// partial files that a crash has left there.
func OpenDir(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, storageError(err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, storageError(err)
	}
	self, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, storageError(err)
	}
	d := &Dir{root: root, self: self}
	if err := d.sweep(time.Now().Add(-staleAfter)); err != nil {
		d.Close()
		return nil, storageError(err)
	}
	return d, nil
}

// Path returns the path the directory was opened with.
func (d *Dir) Path() string { return d.root.Name() }

// Close releases the directory. Not while a file is being received.
func (d *Dir) Close() error { return errors.Join(d.self.Close(), d.root.Close()) }

// sweep removes partial files without a transfer's id last written before the given time.
func (d *Dir) sweep(before time.Time) error {
	_, err := d.eachPart(func(id string, info fs.FileInfo) bool { return id == "" && info.ModTime().Before(before) })
	return err
}

// Collect removes what is on its way for transfers that keep does not know, and returns how many it removed.
func (d *Dir) Collect(keep func(id string) bool) (int, error) {
	return d.eachPart(func(id string, _ fs.FileInfo) bool { return id != "" && !keep(id) })
}

// Discard removes what has come of a transfer. Not while it is being received.
func (d *Dir) Discard(id string) error {
	if !ValidID(id) {
		return nil
	}
	return d.root.RemoveAll(partPrefix + id + partSuffix)
}

// eachPart removes the parts that remove says; id is empty where a part has none.
func (d *Dir) eachPart(remove func(id string, info fs.FileInfo) bool) (removed int, err error) {
	list, err := d.root.Open(".")
	if err != nil {
		return 0, err
	}
	defer list.Close()
	for {
		entries, err := list.ReadDir(256)
		for _, e := range entries {
			id, ours := strings.CutPrefix(e.Name(), partPrefix)
			id, whole := strings.CutSuffix(id, partSuffix)
			if !ours || !whole {
				continue
			}
			if !ValidID(id) {
				id = ""
			}
			info, err := e.Info()
			if err == nil && (info.Mode().IsRegular() || info.IsDir()) && remove(id, info) && d.root.RemoveAll(e.Name()) == nil {
				removed++ // what cannot be removed is tried again next time
			}
		}
		if len(entries) == 0 || err != nil {
			return removed, nil // what cannot be listed cannot be swept
		}
	}
}

// linkName is rename where the kernel cannot rename without replacing: a hard link
// fails when the name is taken.
func (d *Dir) linkName(from, to string) error {
	if info, err := d.root.Lstat(from); err == nil && info.IsDir() { // which has no hard links; the caller has just seen that the name is free
		return d.root.Rename(from, to)
	}
	if err := d.root.Link(from, to); err != nil {
		return err
	}
	return d.root.Remove(from)
}
