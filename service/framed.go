package service

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Framing of a stream on the local socket: 4 bytes of length, big endian, and so many bytes of data. Length 0 ends the direction. A length
// with the highest bit set is an abort, and its bytes say why; nothing follows.
const (
	maxFrame = 64 << 10
	maxAbort = 4 << 10
	abortBit = 1 << 31

	abortTime = 200 * time.Millisecond // a program that reads takes a frame in microseconds
)

// ErrCut is a local stream that ended without an end: the program on the other side of the socket is gone.
var ErrCut = errors.New("service: the program ended without closing the stream")

// AbortError is what the other side of the socket said when it gave the stream up.
type AbortError struct{ Text string }

func (e *AbortError) Error() string { return e.Text }

// Framed is a stream over a connection on which an end that is meant differs from a connection that breaks. One goroutine may read while
// others write.
type Framed struct {
	c       io.ReadWriteCloser
	explain func(error) string

	left int   // of the frame being read
	err  error // how reading ended

	mu   sync.Mutex // guards writing
	head [4]byte
	shut bool // no more frames are written
}

// NewFramed makes a stream of a connection. explain gives an abort its text.
func NewFramed(c io.ReadWriteCloser, explain func(error) string) *Framed {
	return &Framed{c: c, explain: explain}
}

// Read reads data; io.EOF is the other side's end, ErrCut or an *AbortError a failure.
func (f *Framed) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for f.left == 0 {
		if f.err != nil {
			return 0, f.err
		}
		f.left, f.err = f.readHead()
	}
	n, err := f.c.Read(p[:min(len(p), f.left)])
	f.left -= n
	if err != nil && n == 0 {
		f.left, f.err = 0, cut(err)
		return 0, f.err
	}
	return n, nil
}

func (f *Framed) readHead() (int, error) {
	var head [4]byte
	if _, err := io.ReadFull(f.c, head[:]); err != nil {
		return 0, cut(err)
	}
	n := binary.BigEndian.Uint32(head[:])
	switch {
	case n == 0:
		return 0, io.EOF
	case n&abortBit != 0:
		text := make([]byte, min(n&^abortBit, maxAbort))
		if _, err := io.ReadFull(f.c, text); err != nil {
			return 0, cut(err)
		}
		return 0, &AbortError{string(text)}
	case n > maxFrame:
		return 0, fmt.Errorf("service: a frame of %d bytes on the local socket, at most %d are taken", n, maxFrame)
	}
	return int(n), nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCut
	}
	return fmt.Errorf("%w: %w", ErrCut, err)
}

// Write writes data.
func (f *Framed) Write(p []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(p) > 0 {
		part := p[:min(len(p), maxFrame)]
		if err := f.putLocked(uint32(len(part)), part); err != nil {
			return n, err
		}
		n += len(part)
		p = p[len(part):]
	}
	return n, nil
}

// CloseWrite tells the other side that this direction has ended.
func (f *Framed) CloseWrite() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.putLocked(0, nil)
	f.shut = true
	return err
}

// Abort tells why the stream is given up, where the connection takes that within abortTime, and closes it.
func (f *Framed) Abort(cause error) {
	if c, ok := f.c.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = c.SetWriteDeadline(time.Now().Add(abortTime)) // also for a Write that waits for a reader that is gone
	}
	f.mu.Lock()
	text := f.explain(cause)
	text = text[:min(len(text), maxAbort)]
	f.shut = false // an end that was said can still be followed by this
	_ = f.putLocked(abortBit|uint32(len(text)), []byte(text))
	f.shut = true
	f.mu.Unlock()
	_ = f.c.Close()
}

// Close closes the connection.
func (f *Framed) Close() error { return f.c.Close() }

func (f *Framed) putLocked(head uint32, data []byte) error {
	if f.shut {
		return errors.New("service: the stream's end was written already")
	}
	binary.BigEndian.PutUint32(f.head[:], head)
	if _, err := f.c.Write(f.head[:]); err != nil {
		return err
	}
	if len(data) == 0 {
		return nil
	}
	_, err := f.c.Write(data)
	return err
}

// Gone waits behind the other side's end until the connection ends too, and says how: nil when it was closed, an *AbortError, ErrCut when it broke.
func (f *Framed) Gone() error {
	_, err := f.readHead()
	if err == ErrCut { // not one that wraps it, which is a failure
		return nil
	}
	return err
}
