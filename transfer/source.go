package transfer

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
)

// A Source is a regular file that is open for sending, with the size and
// modification time it had when it was opened. It serves one Send at a time,
// because sendfile moves the file's own offset.
type Source struct {
	file *os.File
	name string
	size int64
	mod  time.Time
	busy atomic.Bool
}

// NewSource opens the file at path. A symbolic link is followed. What is missing,
// unreadable, a directory or a device is an [*Error] of kind ErrSource, before
// anybody has been asked anything.
func NewSource(path string) (*Source, error) {
	// Asked before it is opened: opening a device can have effects.
	info, err := os.Stat(path)
	if err != nil {
		return nil, sourceError(err)
	}
	if !info.Mode().IsRegular() {
		return nil, notRegular(path, info)
	}
	// And asked again, because the name may mean something else by now;
	// O_NONBLOCK, because that could be a FIFO that nobody writes to.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, sourceError(err)
	}
	if info, err = file.Stat(); err == nil && !info.Mode().IsRegular() {
		err = notRegular(path, info)
	}
	if err != nil {
		file.Close()
		return nil, sourceError(err)
	}
	return &Source{
		file: file,
		name: offerName(filepath.Base(path)),
		size: info.Size(),
		mod:  info.ModTime(),
	}, nil
}

// Name is the name the file is offered under unless SendOptions has another.
func (s *Source) Name() string { return s.name }

// Size is the size that is offered.
func (s *Source) Size() int64 { return s.size }

// Close closes the file. Not while a Send runs.
func (s *Source) Close() error { return s.file.Close() }

// check reports whether the file is still what was offered.
func (s *Source) check() error {
	info, err := s.file.Stat()
	if err != nil {
		return sourceError(err)
	}
	if info.Size() != s.size || !info.ModTime().Equal(s.mod) {
		return &Error{Kind: ErrChanged, By: Local}
	}
	// The size of a file in /proc is 0, whatever can be read from it.
	var beyond [1]byte
	if n, err := s.file.ReadAt(beyond[:], s.size); n > 0 {
		return &Error{Kind: ErrChanged, By: Local, Detail: "there is more than its size says"}
	} else if !errors.Is(err, io.EOF) {
		return sourceError(err)
	}
	return nil
}

func sourceError(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: ErrSource, By: Local, Cause: err}
}

func notRegular(path string, info fs.FileInfo) error {
	what := "not a regular file"
	if info.IsDir() {
		what = "a directory"
	}
	return &Error{Kind: ErrSource, By: Local, Detail: path + " is " + what}
}
