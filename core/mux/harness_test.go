package mux_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"traverse.internal/core/bufpool"
	"traverse.internal/core/framing"
	"traverse.internal/core/mux"
)

// TestMain looks for buffers that nobody has released: with the tag bufdebug, after all tests.
func TestMain(m *testing.M) {
	code := m.Run()
	if n := bufpool.Live(); n != 0 {
		fmt.Fprintf(os.Stderr, "%d buffers are still held after all tests\n", n)
		code = 1
	}
	os.Exit(code)
}

var errCut = errors.New("cut")

// half is one direction of a wire: a buffer of at most size bytes between a writer and a reader.
type half struct {
	mu     sync.Mutex
	cond   *sync.Cond
	buf    []byte
	size   int
	err    error // for the reader, behind what is in buf
	werr   error // for the writer
	left   int   // bytes until the cut; negative: none
	onCut  func()
	held   bool // nothing is delivered
	lost   bool // what is written vanishes
	writes int
	record *bytes.Buffer
}

func newHalf(size int) *half {
	h := &half{size: size, left: -1}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *half) Read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.buf) == 0 && h.err == nil || h.held && h.err == nil {
		h.cond.Wait()
	}
	if len(h.buf) == 0 || h.held {
		return 0, h.err
	}
	n := copy(p, h.buf)
	h.buf = h.buf[n:]
	h.cond.Broadcast()
	return n, nil
}

func (h *half) Write(p []byte) (int, error) {
	h.mu.Lock()
	h.writes++
	done := 0
	var cut func()
	for done < len(p) && cut == nil {
		for len(h.buf) >= h.size && h.werr == nil {
			h.cond.Wait()
		}
		if err := h.werr; err != nil {
			h.mu.Unlock()
			return done, err
		}
		n := min(len(p)-done, h.size-len(h.buf))
		if h.left >= 0 && n >= h.left {
			n = h.left
			cut = h.onCut
		}
		if h.left >= 0 {
			h.left -= n
		}
		if !h.lost {
			h.buf = append(h.buf, p[done:done+n]...)
		}
		if h.record != nil {
			h.record.Write(p[done : done+n])
		}
		done += n
		h.cond.Broadcast()
	}
	h.mu.Unlock()
	if cut != nil {
		cut()
		return done, errCut
	}
	return done, nil
}

// end stops the direction: the reader gets err behind what is there, or at once when drop is set; the writer fails.
func (h *half) end(err error, drop bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil || drop {
		h.err = err
	}
	if h.werr == nil {
		h.werr = io.ErrClosedPipe
	}
	if drop {
		h.buf = nil
	}
	h.left = -1
	h.cond.Broadcast()
}

// hold stops or resumes delivery.
func (h *half) hold(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = on
	h.cond.Broadcast()
}

func (h *half) writeCount() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.writes
}

func (h *half) recorded() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return bytes.Clone(h.record.Bytes())
}

// stopRecording gives the record up.
func (h *half) stopRecording() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.record = nil
}

// side is one end of a wire.
type side struct {
	in, out *half
}

func (e *side) Read(p []byte) (int, error)  { return e.in.Read(p) }
func (e *side) Write(p []byte) (int, error) { return e.out.Write(p) }

// Close ends both directions, as a closed socket does.
func (e *side) Close() error {
	e.out.end(io.EOF, false)
	e.in.end(io.ErrClosedPipe, true)
	return nil
}

// wire returns the two ends of a link that buffers size bytes each way.
func wire(size int) (a, b *side) {
	ab, ba := newHalf(size), newHalf(size)
	return &side{in: ba, out: ab}, &side{in: ab, out: ba}
}

// cut breaks both directions; what is under way is lost.
func (e *side) cut() {
	e.in.end(errCut, true)
	e.out.end(errCut, true)
}

// vanish breaks the link for this side only: the other one's writes get lost and its reads wait, as when a network path
// is gone.
func (e *side) vanish() {
	e.in.mu.Lock()
	e.in.err, e.in.buf, e.in.lost, e.in.left = errCut, nil, true, -1
	e.in.cond.Broadcast()
	e.in.mu.Unlock()
	e.out.mu.Lock()
	e.out.werr, e.out.buf, e.out.left = errCut, nil, -1
	e.out.cond.Broadcast()
	e.out.mu.Unlock()
}

// cutAfter calls then when n more bytes have been written in this direction; the Write that reaches it fails behind
// them.
func (h *half) cutAfter(n int, then func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left, h.onCut = n, then
}

const wireSize = 128 << 10

var secret = bytes.Repeat([]byte{7}, 32)

func exporter(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 32) }

// sessions starts the two sides of a session on a link. They are closed at the test's end.
func sessions(t testing.TB, ca, cb io.ReadWriteCloser, cfgA, cfgB mux.Config) (a, b *mux.Session) {
	t.Helper()
	cfgA.Secret, cfgB.Secret = secret, secret
	a, err := mux.Start(ca, cfgA)
	if err != nil {
		t.Fatal(err)
	}
	op, err := mux.Receive(cb)
	if err != nil {
		t.Fatal(err)
	}
	b, err = mux.Answer(cb, op, cfgB)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Close()
		b.Close()
	})
	return a, b
}

// newPair is sessions on a wire with defaults.
func newPair(t testing.TB) (a, b *mux.Session) {
	t.Helper()
	ca, cb := wire(wireSize)
	return sessions(t, ca, cb, mux.Config{}, mux.Config{})
}

// open opens a channel from a to b and returns both ends; they are closed at the test's end.
func open(t testing.TB, a, b *mux.Session, name string) (from, to *mux.Channel) {
	t.Helper()
	accepted := make(chan *mux.Channel)
	go func() { accepted <- acceptOne(t, b) }()
	from, err := a.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	to = <-accepted
	if to == nil {
		t.FailNow()
	}
	t.Cleanup(func() {
		from.Close()
		to.Close()
	})
	return from, to
}

func acceptOne(t testing.TB, s *mux.Session) *mux.Channel {
	r, err := s.Accept(context.Background())
	if err != nil {
		t.Error(err)
		return nil
	}
	c, err := r.Accept()
	if err != nil {
		t.Error(err)
	}
	return c
}

// attach moves a session whose side a calls the new link.
func attach(t testing.TB, a, b *mux.Session, ca, cb io.ReadWriteCloser, n int) error {
	t.Helper()
	answered := make(chan error, 1)
	go func() {
		op, err := mux.Receive(cb)
		if err == nil {
			err = b.AttachAnswer(context.Background(), cb, op, exporter(n))
		} else {
			cb.Close()
		}
		answered <- err
	}()
	err := a.Attach(context.Background(), ca, exporter(n))
	return errors.Join(err, <-answered)
}

func contextFor(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

// frames cuts what was written on a link into frames.
func frames(t testing.TB, b []byte) (headers []framing.Header, bodies [][]byte) {
	t.Helper()
	for len(b) > 0 {
		h, err := framing.ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		b = b[framing.HeaderLen:]
		headers, bodies = append(headers, h), append(bodies, b[:h.Length])
		b = b[h.Length:]
	}
	return headers, bodies
}
