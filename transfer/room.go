package transfer

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// RoomError is what a file system lacks for a transfer: the cause of an [ErrNoSpace] that this side has found, or of an [ErrStorage] where it could not hold
// it when empty. Its text is told to the sender.
type RoomError struct {
	Needed int64 // bytes that have yet to be written
	Kept   int64 // bytes that must stay free
	Free   int64 // bytes that are, without those promised to others
	Total  int64 // bytes of the whole file system
	Err    error // what the system said; nil where nothing has been written yet
}

func (e *RoomError) Error() string {
	if e.Err == nil {
		return e.text()
	}
	return e.text() + ": " + e.Err.Error()
}

func (e *RoomError) Unwrap() error { return e.Err }

// never tells whether an empty disk would not do either.
func (e *RoomError) never() bool { return e.Kept >= e.Total || e.Needed > e.Total-e.Kept }

func (e *RoomError) text() string {
	s := fmt.Sprintf("%d bytes needed", e.Needed)
	if e.Kept > 0 {
		s += fmt.Sprintf(", %d to be kept free", e.Kept)
	}
	if e.never() {
		return s + fmt.Sprintf(", and the disk has %d in all", e.Total)
	}
	return s + fmt.Sprintf(", %d available", max(e.Free, 0))
}

// Room tells whether size bytes fit beside what others were promised and a reserve. Where the file system does not say they do.
func (d *Dir) Room(size, reserve int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.missingLocked(size, reserve) == nil
}

// missingLocked returns nil when there is room.
func (d *Dir) missingLocked(size, reserve int64) *RoomError {
	free, total, ok := d.space()
	if !ok {
		return nil
	}
	if free -= d.promised; free < size || free-size < reserve {
		return &RoomError{Needed: size, Kept: reserve, Free: free, Total: total}
	}
	return nil
}

// promise finds room for size bytes beside what others were promised, or fails when those and a reserve do not fit.
func (d *Dir) promise(size, reserve int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.missingLocked(size, reserve); r != nil {
		kind := ErrNoSpace
		if r.never() {
			kind = ErrStorage // there is nothing to wait for
		}
		return &Error{Kind: kind, By: Local, Cause: r}
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

// full tells whether the file system, or the user's share of it, is.
func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// storageError is for what the file system says to a receiver.
func storageError(err error) *Error {
	if full(err) {
		return &Error{Kind: ErrNoSpace, By: Local, Cause: err}
	}
	return &Error{Kind: ErrStorage, By: Local, Cause: err}
}

// storageError says of a disk that is full what is missing, too.
func (p *part) storageError(err error) *Error {
	e := storageError(err)
	if e.Kind != ErrNoSpace {
		return e
	}
	p.dir.mu.Lock()
	defer p.dir.mu.Unlock()
	if free, total, ok := p.dir.space(); ok {
		reason := err
		if path := (*fs.PathError)(nil); errors.As(err, &path) {
			reason = path.Err // the name of a part means nothing to anybody
		}
		e.Cause = &RoomError{Needed: p.left, Free: free, Total: total, Err: reason}
	}
	return e
}

// reasonOf is what the peer is told besides the word for an error: of a disk what is missing.
func reasonOf(err error) string {
	if r := (*RoomError)(nil); errors.As(err, &r) {
		return r.text()
	}
	return ""
}
