//go:build unix

package turn

import (
	"io"

	"golang.org/x/sys/unix"

	"traverse.internal/core/bufpool"
)

// streamReader is the state of a read. It waits for the socket without a buffer.
type streamReader struct {
	try func(fd uintptr) bool // bound once
	n   int
	err error
}

// streamWriter is the state of a write that does not wait.
type streamWriter struct {
	try   func(fd uintptr) bool // bound once
	frame []byte
	n     int
	err   error
}

func (st *stream) bindCallbacks() {
	st.reader.try = st.tryRead
	st.out.writer.try = st.doWrite
}

// read waits for bytes and appends them to the buffer, which it borrows when they come.
func (st *stream) read() error {
	if st.secure != nil {
		return st.readWaiting()
	}
	r := &st.reader
	r.n, r.err = 0, nil
	if err := st.raw.Read(r.try); err != nil {
		return err
	}
	if r.err != nil {
		return r.err
	}
	if r.n == 0 {
		return io.EOF
	}
	st.have += r.n
	return nil
}

func (st *stream) tryRead(fd uintptr) bool {
	if st.buf == nil {
		st.buf, st.have = bufpool.Get(streamBuffer), 0
	}
	r := &st.reader
	for {
		r.n, r.err = unix.Read(int(fd), st.buf.Bytes()[st.have:])
		switch r.err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			if st.have == 0 {
				st.drop()
			}
			return false
		}
		return true
	}
}

// tryWrite gives the kernel what it takes at once; over TLS, where a write may wait, everything goes through the backlog's
// goroutine. The outbox's lock is held.
func (st *stream) tryWrite(frame []byte) (int, error) {
	if st.secure != nil {
		return 0, nil
	}
	w := &st.out.writer
	w.frame, w.n, w.err = frame, 0, nil
	if err := st.raw.Write(w.try); err != nil {
		return 0, err
	}
	w.frame = nil
	return w.n, w.err
}

// doWrite always says that it is done: it does not wait.
func (st *stream) doWrite(fd uintptr) bool {
	w := &st.out.writer
	for w.n < len(w.frame) {
		n, err := unix.Write(int(fd), w.frame[w.n:])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return true
		case err != nil:
			w.err = err
			return true
		}
		w.n += n
	}
	return true
}
