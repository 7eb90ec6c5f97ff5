package transfer

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// memStream is one end of a Stream in memory, with what a mux channel has: a window
// of 64 KiB, half-close, deadlines, and resets that carry a code. It works in a
// synctest bubble.
type memStream struct {
	in, out *half
	name    string

	mu       sync.Mutex // guards the fields below
	deadline time.Time
	timer    *time.Timer
	codes    []uint16 // of Reset calls on this end
	closed   bool
}

// half is one direction.
type half struct {
	mu       sync.Mutex
	changed  *sync.Cond
	buf      []byte
	eof      bool
	discard  bool
	readErr  error
	writeErr error
}

const memWindow = 64 << 10

type memReset struct{ code uint16 }

func (e *memReset) Error() string             { return fmt.Sprintf("reset by peer, code %#x", e.code) }
func (e *memReset) ResetCode() (uint16, bool) { return e.code, true }

func newHalf() *half {
	h := new(half)
	h.changed = sync.NewCond(&h.mu)
	return h
}

// memPipe returns two ends of a channel named for id, or without a name.
func memPipe(id string) (*memStream, *memStream) {
	a, b := newHalf(), newHalf()
	name := ""
	if id != "" {
		name = ChannelName(id)
	}
	return &memStream{in: a, out: b, name: name}, &memStream{in: b, out: a, name: name}
}

func (s *memStream) late() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.deadline.IsZero() && !time.Now().Before(s.deadline)
}

func (s *memStream) Read(p []byte) (int, error) {
	h := s.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.readErr != nil:
			return 0, h.readErr
		case len(h.buf) > 0:
			n := copy(p, h.buf)
			h.buf = h.buf[n:]
			h.changed.Broadcast()
			return n, nil
		case h.eof:
			return 0, io.EOF
		case s.late():
			return 0, os.ErrDeadlineExceeded
		}
		h.changed.Wait()
	}
}

func (s *memStream) Write(p []byte) (int, error) {
	h := s.out
	h.mu.Lock()
	defer h.mu.Unlock()
	done := 0
	for {
		switch {
		case h.writeErr != nil:
			return done, h.writeErr
		case h.eof:
			return done, net.ErrClosed
		case h.discard:
			return len(p), nil
		case done == len(p):
			return done, nil
		case s.late():
			return done, os.ErrDeadlineExceeded
		}
		if n := min(memWindow-len(h.buf), len(p)-done); n > 0 {
			h.buf = append(h.buf, p[done:done+n]...)
			done += n
			h.changed.Broadcast()
			continue
		}
		h.changed.Wait()
	}
}

func (s *memStream) CloseWrite() error {
	s.out.set(func(h *half) { h.eof = true })
	return nil
}

func (s *memStream) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.CloseWrite()
	s.in.set(func(h *half) {
		h.discard = true
		h.buf = nil
		if h.readErr == nil {
			h.readErr = net.ErrClosed
		}
	})
	return s.SetDeadline(time.Time{})
}

func (s *memStream) Reset(code uint16, _ string) error {
	s.mu.Lock()
	s.codes = append(s.codes, code)
	s.mu.Unlock()
	s.in.kill(net.ErrClosed, &memReset{code})
	s.out.kill(&memReset{code}, net.ErrClosed)
	return nil
}

// fail is the death of the link: both ends see err.
func (s *memStream) fail(err error) {
	s.in.kill(err, err)
	s.out.kill(err, err)
}

func (s *memStream) SetDeadline(t time.Time) error {
	s.mu.Lock()
	s.deadline = t
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if !t.IsZero() {
		s.timer = time.AfterFunc(time.Until(t), s.wake)
	}
	s.mu.Unlock()
	s.wake()
	return nil
}

func (s *memStream) wake() {
	s.in.set(func(*half) {})
	s.out.set(func(*half) {})
}

// ended reports whether this end was closed or reset.
func (s *memStream) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// lastCode is the code of the last Reset, or 0.
func (s *memStream) lastCode() uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.codes) == 0 {
		return 0
	}
	return s.codes[len(s.codes)-1]
}

func (h *half) set(f func(*half)) {
	h.mu.Lock()
	f(h)
	h.changed.Broadcast()
	h.mu.Unlock()
}

func (h *half) kill(read, write error) {
	h.set(func(h *half) {
		h.buf = nil
		if h.readErr == nil {
			h.readErr = read
		}
		if h.writeErr == nil {
			h.writeErr = write
		}
	})
}

// namedStream adds what *mux.Channel has.
type namedStream struct{ *memStream }

func (s namedStream) Name() string { return s.name }

// readerFromStream is a memStream that takes files whole; it notes whether it was
// given what sendfile needs.
type readerFromStream struct {
	*memStream
	sawFile bool
}

func (s *readerFromStream) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		_, s.sawFile = l.R.(*os.File)
	}
	return io.Copy(struct{ io.Writer }{s.memStream}, r)
}

// tcpStream is a Stream over a TCP connection: its reset has no code. It embeds
// *net.TCPConn, so ReadFrom is promoted and the body goes by sendfile.
type tcpStream struct{ *net.TCPConn }

func (s tcpStream) Reset(uint16, string) error {
	s.SetLinger(0)
	return s.Close()
}

func tcpPipe(t testing.TB) (Stream, Stream) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return tcpStream{a.(*net.TCPConn)}, tcpStream{b.(*net.TCPConn)}
}
