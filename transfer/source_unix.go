//go:build !windows

package transfer

import (
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A sourceFile is an open file of a Source. It is a bare descriptor: an os.File costs four calls of the kernel more, and of small files
// there are many.
type sourceFile struct {
	fd   int
	path string
}

// openSource opens a file to be read; inside a folder no link is followed. The name may mean a FIFO by now, that nobody writes to: O_NONBLOCK.
func openSource(path string, inside bool) (*sourceFile, error) {
	flags := unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC
	if inside {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := restart(func() (int, error) { return unix.Open(path, flags, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &sourceFile{fd, path}, nil
}

// ReadAt is io.ReaderAt's.
func (f *sourceFile) ReadAt(b []byte, at int64) (n int, err error) {
	for n < len(b) {
		got, err := restart(func() (int, error) { return unix.Pread(f.fd, b[n:], at+int64(n)) })
		if err != nil {
			return n, &fs.PathError{Op: "read", Path: f.path, Err: err}
		}
		if got == 0 {
			return n, io.EOF
		}
		n += got
	}
	return n, nil
}

func (f *sourceFile) stat() (fileState, error) {
	var st unix.Stat_t
	if _, err := restart(func() (int, error) { return 0, unix.Fstat(f.fd, &st) }); err != nil {
		return fileState{}, &fs.PathError{Op: "stat", Path: f.path, Err: err}
	}
	return stateOf(&st), nil
}

// share returns the file again, with a descriptor of its own, for a stream to read.
func (f *sourceFile) share() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(f.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "dup", Path: f.path, Err: err}
	}
	return os.NewFile(uintptr(fd), f.path), nil
}

// Close is io.Closer's.
func (f *sourceFile) Close() error { return unix.Close(f.fd) }

// statSource looks at a file without opening it.
func statSource(path string) (fileState, error) {
	var st unix.Stat_t
	if _, err := restart(func() (int, error) { return 0, unix.Stat(path, &st) }); err != nil {
		return fileState{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return stateOf(&st), nil
}

func stateOf(st *unix.Stat_t) fileState {
	sec, nsec := st.Mtim.Unix()
	return fileState{st.Mode&unix.S_IFMT == unix.S_IFREG, st.Size, sec*1e9 + nsec, st.Ino}
}

func inodeOf(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

// restart calls f again while a signal interrupts it.
func restart(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR { //nolint:errorlint // it comes straight from the kernel
			return n, err
		}
	}
}
