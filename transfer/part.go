package transfer

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"traverse.internal/core/treehash"
)

// A part is what has come of one transfer, under a name of its own: a file where one file is offered, else a folder with all of it.
type part struct {
	dir     *Dir
	m       *manifest
	journal *Journal
	name    string   // in dir
	root    *os.Root // the folder; nil where the part is a file
	left    int64    // bytes promised and not written

	file  *outFile // the one that is being written; nil when there is none
	entry int      // which that is
	fresh bool     // nothing of it was there when it was opened

	folder     *os.File // the folder of the last file that was opened; nil before
	folderPath string

	named map[int]string // roots that have got their names, in this run or an earlier one

	taken          []bool // of the entries; nil: all
	unwanted       bitmap // chunks of those that are not
	unwantedChunks uint32
	unwantedBytes  int64
	unwantedFiles  int
}

// open makes ready to receive m: what the journal says is here is compared with what is, and room is found for the rest.
func (d *Dir) open(id string, m *manifest, j *Journal, opt AcceptOptions, selects bool) (*part, error) {
	p := &part{dir: d, m: m, journal: j, name: partPrefix + id + partSuffix, named: map[int]string{}}
	if j.file == nil {
		p.name = partPrefix + rand.Text() + partSuffix // nobody will look for it again
	}
	gone, err := j.adopt(m)
	if err != nil {
		return nil, storageError(err)
	}
	if err := p.openRoot(gone); err != nil {
		return nil, storageError(err)
	}
	p.findNamed(opt)
	if err := p.choose(opt, selects); err != nil {
		p.close()
		if j.count == 0 {
			_ = d.root.RemoveAll(p.name)
		}
		return nil, err
	}
	if err := p.compare(); err != nil {
		p.close()
		return nil, storageError(err)
	}
	left := m.size - p.unwantedBytes - j.Bytes()
	if err := d.promise(left, opt.MinFree); err != nil {
		p.close()
		if j.count == 0 {
			_ = d.root.RemoveAll(p.name)
		}
		return nil, err
	}
	p.left = left
	return p, nil
}

// openRoot makes the folder, and removes what is in it and is not wanted any more.
func (p *part) openRoot(gone []string) error {
	info, err := p.dir.root.Lstat(p.name)
	if err == nil && info.IsDir() == p.m.single() { // the offer was of another kind before
		if err := p.dir.root.RemoveAll(p.name); err != nil {
			return err
		}
	}
	if p.m.single() {
		if len(gone) > 0 {
			return p.dir.root.RemoveAll(p.name)
		}
		return nil
	}
	if err := p.dir.root.Mkdir(p.name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	} else if err == nil {
		p.fresh = true
	}
	if p.root, err = p.dir.root.OpenRoot(p.name); err != nil {
		return err
	}
	for _, path := range gone {
		_ = p.root.RemoveAll(path) // what stays in the way is found by compare
	}
	return nil
}

// at returns root and name for what the entry is stored under until it is published.
func (p *part) at(i int) (*os.Root, string) {
	if p.root == nil {
		return p.dir.root, p.name
	}
	return p.root, p.m.entries[i].Path
}

// splitPath cuts the last name off a path of an entry.
func splitPath(path string) (folder, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return ".", path
	}
	return path[:i], path[i+1:]
}

// rootOf returns the root that entry i is below.
func (p *part) rootOf(i int) int {
	r := 0
	for r+1 < len(p.m.roots) && p.m.roots[r+1] <= i {
		r++
	}
	return p.m.roots[r]
}

// compare takes back the chunks that are not on the disk, hashes those that a power cut made doubtful, counts the bytes that came for
// nothing, and makes the folders.
func (p *part) compare() error {
	wasted := int64(0)
	root := -1
	for i := range p.m.entries {
		e := &p.m.entries[i]
		if !strings.Contains(e.Path, "/") {
			root = i
		}
		if _, ok := p.named[root]; ok || !p.takes(i) {
			continue
		}
		switch {
		case e.Kind == Folder:
			at, name := p.at(i)
			if err := at.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		case e.Kind == File && p.journal.file != nil:
			n, err := p.compareFile(i)
			if err != nil {
				return err
			}
			wasted += n
		}
	}
	p.journal.wasted(wasted)
	return nil
}

func (p *part) compareFile(i int) (wasted int64, err error) {
	root, name := p.at(i)
	j, first, last := p.journal, p.m.first[i], p.m.first[i+1]
	if p.fresh {
		for n := first; n < last; n++ {
			j.drop(n)
		}
		return 0, nil
	}
	size := int64(0)
	info, err := root.Lstat(name)
	if err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	var file *os.File
	defer func() {
		if file != nil {
			file.Close()
		}
	}()
	end, complete := int64(0), true
	for n := first; n < last; n++ {
		at, length := p.m.span(i, n)
		ok := j.have.has(n) && at+length <= size
		if ok && j.doubt.has(n) {
			if file == nil {
				if file, err = root.Open(name); err != nil {
					return 0, err
				}
			}
			h := treehash.New(nil)
			_, err := io.Copy(h, io.NewSectionReader(file, at, length))
			ok = err == nil && Digest(h.Sum()) == j.sums[n]
		}
		if ok {
			end = at + length
		} else {
			complete = false
			j.drop(n)
		}
	}
	if complete && last > first {
		return 0, p.finishFile(root, name, i, info)
	}
	return max(0, size-end), nil
}

// write stores bytes of an entry.
func (p *part) write(i int, _ uint32, at int64, b []byte) error {
	if p.file == nil || p.entry != i {
		if err := p.closeFile(); err != nil {
			return err
		}
		file, err := p.openOut(i)
		if err != nil {
			return p.storageError(err)
		}
		p.file, p.entry = file, i
	}
	n, err := p.file.WriteAt(b, at)
	p.redeem(int64(n))
	if err != nil {
		return p.storageError(err)
	}
	return nil
}

func (p *part) redeem(n int64) {
	n = min(n, p.left)
	p.dir.redeem(n)
	p.left -= n
}

func (p *part) list() *manifest { return p.m }

func (p *part) missing(n uint32) bool { return !p.journal.have.has(n) && !p.unwanted.has(n) }

func (p *part) toCome() int64 { return p.left }

func (p *part) flush() { p.journal.flush() }

// whole compares the digest over everything.
func (p *part) whole(want Digest) (Digest, error) {
	j := p.journal
	if j.count != p.wanted() {
		return Digest{}, protocolError("the end, and %d chunks of %d are here", j.count, p.wanted())
	}
	root := rootOf(p.m, j.sums, p.unwanted)
	if root != want {
		// Each chunk was what the sender said then, and together they are not what it says now: which are wrong nobody knows.
		j.forget()
		return root, &Error{Kind: ErrIntegrity, By: Local, Detail: "the whole", Cause: errBad}
	}
	return root, nil
}

// verified notes a chunk whose digest is right.
func (p *part) verified(i int, n uint32, sum Digest) error {
	p.journal.add(n, sum)
	if n == p.m.first[i+1]-1 && !p.m.single() {
		return p.closeFile()
	}
	return nil
}

// closeFile closes the file that is being written, with its time and mode when it is complete.
func (p *part) closeFile() error {
	if p.file == nil {
		return nil
	}
	file, complete := p.file, true
	for n := p.m.first[p.entry]; n < p.m.first[p.entry+1] && complete; n++ {
		complete = p.journal.have.has(n)
	}
	p.file = nil
	var err error
	if complete {
		err = file.finish(&p.m.entries[p.entry])
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return p.storageError(err)
	}
	return nil
}

// finishFile gives a complete file its size, mode and time.
func (p *part) finishFile(root *os.Root, name string, i int, info fs.FileInfo) error {
	e := &p.m.entries[i]
	if info.Size() > e.Size { // what an earlier version of it had
		file, err := root.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(file.Truncate(e.Size), file.Close()); err != nil {
			return err
		}
	}
	if mode := info.Mode().Perm() & e.Mode; mode != info.Mode().Perm() {
		if err := root.Chmod(name, mode); err != nil {
			return err
		}
	}
	when := time.Unix(0, e.Mod)
	return root.Chtimes(name, when, when)
}

// close lets go of the files.
func (p *part) close() {
	if p.file != nil {
		p.file.Close()
		p.file = nil
	}
	if p.folder != nil {
		p.folder.Close()
		p.folder = nil
	}
	if p.root != nil {
		p.root.Close()
		p.root = nil
	}
}

// put ends a run that failed. With a journal what has come stays for the next one.
func (p *part) put(opt AcceptOptions, err error) {
	p.dir.redeem(p.left)
	p.left = 0
	if errors.Is(err, ErrPaused) && !opt.NoSync && p.sync() == nil {
		_ = p.journal.synced() // else they are in doubt after a power cut, and hashed then
	}
	p.close()
	if p.journal.file == nil {
		_ = p.dir.root.RemoveAll(p.name) // else the sweep does
	}
}

// settle completes what has come: empty files, links, the folders' modes and times; and makes it durable.
func (p *part) settle(noSync bool) error {
	if p.m.single() && p.file == nil && p.takes(0) {
		if err := p.write(0, 0, 0, nil); err != nil { // an empty one
			return err
		}
	}
	if p.file != nil && !noSync {
		if err := p.file.Sync(); err != nil {
			return p.storageError(err)
		}
	}
	if err := p.closeFile(); err != nil {
		return err
	}
	if p.m.single() {
		return nil
	}
	for i := range p.m.entries {
		if err := p.complete(i); err != nil {
			return p.storageError(err)
		}
	}
	for i := len(p.m.entries) - 1; i >= 0; i-- {
		e := &p.m.entries[i]
		if _, ok := p.named[p.rootOf(i)]; ok || e.Kind != Folder || !p.takes(i) {
			continue
		}
		when := time.Unix(0, e.Mod)
		if err := errors.Join(p.root.Chmod(e.Path, e.Mode|0o700), p.root.Chtimes(e.Path, when, when)); err != nil {
			return p.storageError(err)
		}
	}
	if noSync {
		return nil
	}
	if err := p.sync(); err != nil {
		return p.storageError(err)
	}
	return nil
}

// complete makes an entry that has no chunks.
func (p *part) complete(i int) error {
	e := &p.m.entries[i]
	if _, ok := p.named[p.rootOf(i)]; ok || !p.takes(i) {
		return nil
	}
	switch {
	case e.Kind == File && p.m.of(i) == 0:
		file, err := p.root.OpenFile(e.Path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, e.Mode|0o600)
		if err != nil {
			return err
		}
		info, err := file.Stat()
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
		return p.finishFile(p.root, e.Path, i, info)
	case e.Kind == Link:
		err := p.root.Symlink(path.Clean(e.Target), e.Path)
		if errors.Is(err, fs.ErrExist) {
			if err = p.root.RemoveAll(e.Path); err == nil {
				err = p.root.Symlink(path.Clean(e.Target), e.Path)
			}
		}
		return err
	}
	return nil
}

// syncEach syncs every file and folder that is there.
func (p *part) syncEach() error {
	var errs []error
	if p.file != nil {
		errs = append(errs, p.file.Sync())
	}
	for i := len(p.m.entries) - 1; i >= 0 && p.root != nil; i-- {
		if p.m.entries[i].Kind == Link {
			continue
		}
		file, err := p.root.Open(p.m.entries[i].Path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue // it has not come yet, or may not be read
		}
		if err == nil {
			err = errors.Join(file.Sync(), file.Close())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
