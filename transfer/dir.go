package transfer

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// A file on its way is called .traverse-<random>.part. No name that SafeName
	// makes begins with a dot, so a peer cannot choose such a name.
	partPrefix = ".traverse-"
	partSuffix = ".part"

	// staleAfter is the age at which OpenDir removes what a crash left: no
	// transfer goes a day without writing, as StallTimeout ends it.
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

// sweep removes partial files last written before the given time.
func (d *Dir) sweep(before time.Time) error {
	list, err := d.root.Open(".")
	if err != nil {
		return err
	}
	defer list.Close()
	for {
		entries, err := list.ReadDir(256)
		for _, e := range entries {
			name := e.Name()
			if !strings.HasPrefix(name, partPrefix) || !strings.HasSuffix(name, partSuffix) {
				continue
			}
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.ModTime().Before(before) {
				_ = d.root.Remove(name) // what cannot be removed is tried again next time
			}
		}
		if len(entries) == 0 || err != nil {
			return nil // what cannot be listed cannot be swept
		}
	}
}

// promise finds room for size bytes beside what others were promised, or fails when those and a reserve do not fit.
func (d *Dir) promise(size, reserve int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	free, ok := d.free()
	if !ok {
		return nil
	}
	if free -= d.promised; free < size || free-size < reserve {
		return &Error{Kind: ErrNoSpace, By: Local, Detail: fmt.Sprintf("%d bytes needed, %d to be kept free, %d available", size, reserve, max(free, 0))}
	}
	d.promised += size
	return nil
}

// redeem takes back n promised bytes, which are written or will not be.
func (d *Dir) redeem(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.promised = max(d.promised-n, 0) // nothing was promised where the file system does not say what is free
}

// A part is a file that has no name of its own yet.
type part struct {
	dir  *Dir
	file *os.File
	name string
	left int64 // bytes promised and not written
}

// create makes an empty part for size bytes and keeps reserve free beside it. Its mode is for the umask to decide.
func (d *Dir) create(size, reserve int64) (*part, error) {
	if err := d.promise(size, reserve); err != nil {
		return nil, err
	}
	name := partPrefix + rand.Text() + partSuffix // 128 random bits: O_EXCL never fails
	file, err := d.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		d.redeem(size)
		return nil, storageError(err)
	}
	return &part{dir: d, file: file, name: name, left: size}, nil
}

// write appends to the file.
func (p *part) write(b []byte) error {
	n, err := p.file.Write(b)
	p.dir.redeem(int64(n))
	p.left -= int64(n)
	if err != nil {
		return storageError(err)
	}
	return nil
}

// settle makes the content durable and closes the file.
func (p *part) settle(noSync bool) error {
	var err error
	if !noSync {
		err = p.file.Sync()
	}
	if err = errors.Join(err, p.file.Close()); err != nil {
		return storageError(err)
	}
	return nil
}

// publish gives a settled part the first free name of "name", "name (1)", … and
// returns it. Nothing that exists is replaced.
func (p *part) publish(name string, noSync bool) (string, error) {
	for n := range maxTwins {
		try := numberedName(name, n)
		err := p.dir.rename(p.name, try)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil && !noSync {
			if err = p.dir.self.Sync(); err != nil {
				_ = p.dir.root.Remove(try) // the sender will be told that it is not here
			}
		}
		if err != nil {
			return "", storageError(err)
		}
		return try, nil
	}
	return "", &Error{Kind: ErrStorage, By: Local, Detail: fmt.Sprintf("%d files of that name", maxTwins)}
}

// discard removes a part that was not published.
func (p *part) discard() {
	p.dir.redeem(p.left)
	p.left = 0
	p.file.Close()
	_ = p.dir.root.Remove(p.name) // else the sweep does
}

// linkName is rename where the kernel cannot rename without replacing: a hard link
// fails when the name is taken.
func (d *Dir) linkName(from, to string) error {
	if err := d.root.Link(from, to); err != nil {
		return err
	}
	return d.root.Remove(from)
}
