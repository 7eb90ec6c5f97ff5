//go:build !windows

package transfer

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// An outFile is the file of a part that is being written: a bare descriptor in the folder it lies in, which stays open for the next file.
// So a small file costs four calls of the kernel: open, write, the time, close.
type outFile struct {
	dir  int // its folder
	name string
	fd   int
	mine bool // made by this openOut: it has the mode that was asked for, and no bytes from before
}

// openOut opens the file of entry i, or makes it. Nothing on the way to it may be a link.
func (p *part) openOut(i int) (*outFile, error) {
	dir, name, err := p.folderOf(i)
	if err != nil {
		return nil, err
	}
	f := &outFile{dir: int(dir.Fd()), name: name, mine: true}
	mode := uint32(p.m.entries[i].Mode | 0o600) // the umask decides too
	open := func(flags int) (err error) {
		f.fd, err = restart(func() (int, error) {
			return unix.Openat(f.dir, name, flags|unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		})
		return err
	}
	if err = open(unix.O_EXCL); errors.Is(err, fs.ErrExist) {
		f.mine = false
		err = open(unix.O_NONBLOCK)
	}
	if err != nil {
		return nil, f.wrong("open", err)
	}
	return f, nil
}

// folderOf returns the open folder that the file of entry i lies in, and its name there.
func (p *part) folderOf(i int) (*os.File, string, error) {
	if p.root == nil {
		return p.dir.self, p.name, nil
	}
	path, name := splitPath(p.m.entries[i].Path)
	if p.folder != nil && p.folderPath == path {
		return p.folder, name, nil
	}
	folder, err := p.root.Open(path)
	if err != nil {
		return nil, "", err
	}
	if p.folder != nil {
		p.folder.Close()
	}
	p.folder, p.folderPath = folder, path
	return folder, name, nil
}

func (f *outFile) wrong(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

// WriteAt is io.WriterAt's.
func (f *outFile) WriteAt(b []byte, at int64) (n int, err error) {
	for n < len(b) {
		got, err := restart(func() (int, error) { return unix.Pwrite(f.fd, b[n:], at+int64(n)) })
		if err != nil {
			return n, f.wrong("write", err)
		}
		if got == 0 {
			return n, f.wrong("write", io.ErrShortWrite)
		}
		n += got
	}
	return n, nil
}

// Sync has the bytes on the disk when it returns.
func (f *outFile) Sync() error {
	if _, err := restart(func() (int, error) { return 0, unix.Fsync(f.fd) }); err != nil {
		return f.wrong("sync", err)
	}
	return nil
}

// finish gives a complete file its size, mode and time.
func (f *outFile) finish(e *Entry) error {
	if !f.mine || e.Mode|0o600 != e.Mode {
		var st unix.Stat_t
		if err := unix.Fstat(f.fd, &st); err != nil {
			return f.wrong("stat", err)
		}
		if st.Size > e.Size { // what an earlier version of it had
			if _, err := restart(func() (int, error) { return 0, unix.Ftruncate(f.fd, e.Size) }); err != nil {
				return f.wrong("truncate", err)
			}
		}
		have := fs.FileMode(st.Mode).Perm()
		if mode := have & e.Mode; mode != have {
			if err := unix.Fchmod(f.fd, uint32(mode)); err != nil {
				return f.wrong("chmod", err)
			}
		}
	}
	when := unix.NsecToTimespec(e.Mod)
	if err := unix.UtimesNanoAt(f.dir, f.name, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return f.wrong("chtimes", err)
	}
	return nil
}

// Close is io.Closer's.
func (f *outFile) Close() error {
	if err := unix.Close(f.fd); err != nil {
		return f.wrong("close", err)
	}
	return nil
}
