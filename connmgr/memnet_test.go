package connmgr

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"traverse.internal/core/ice"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

// memNet is a network in memory: it carries sealed offers (here: plain ones) and hands out pipes as paths.
type memNet struct {
	mu      sync.Mutex
	serving map[identity.DeviceID]*memNode
	meets   map[uint64]*memMeet
	next    uint64
	links   []net.Conn // every pipe end made, to cut
	broken  error      // when set, negotiations fail with it
	hold    chan struct{}
}

// memMeet is where the two attempts of one call find their pipe: the caller's offer carries its number.
type memMeet struct{ ends chan net.Conn }

func newMemNet() *memNet {
	return &memNet{serving: map[identity.DeviceID]*memNode{}, meets: map[uint64]*memMeet{}}
}

// memNode is one device's Signaler and Pathfinder.
type memNode struct {
	net *memNet
	id  identity.DeviceID

	mu      sync.Mutex
	handle  func(context.Context, identity.DeviceID, []byte) ([]byte, error)
	serveOn chan struct{}
	calls   int
	// gathered counts attempts; guarded by the net's mu
	gathered int
	mute     bool // swallow incoming calls
	delay    <-chan struct{}
}

type silentError struct{}

func (silentError) Error() string       { return "memnet: peer silent" }
func (silentError) Reason() reason.Code { return reason.PeerSilent }

type absentError struct{}

func (absentError) Error() string       { return "memnet: no record" }
func (absentError) Reason() reason.Code { return reason.NoRecord }

func (n *memNode) Serve(ctx context.Context, h func(context.Context, identity.DeviceID, []byte) ([]byte, error)) error {
	n.mu.Lock()
	n.handle = h
	n.mu.Unlock()
	close(n.serveOn)
	<-ctx.Done()
	return ctx.Err()
}

func (n *memNode) Call(ctx context.Context, peer identity.DeviceID, offer []byte) ([]byte, error) {
	n.mu.Lock()
	n.calls++
	delay := n.delay
	n.mu.Unlock()
	if delay != nil {
		select {
		case <-delay:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	n.net.mu.Lock()
	to := n.net.serving[peer]
	n.net.mu.Unlock()
	if to == nil {
		return nil, absentError{}
	}
	to.mu.Lock()
	h, mute := to.handle, to.mute
	to.mu.Unlock()
	if h != nil && !mute {
		if answer, err := h(ctx, n.id, offer); err == nil {
			return answer, nil
		}
	}
	// Refusal is silence: the caller cannot tell it from absence of the program.
	select {
	case <-ctx.Done():
		return nil, errors.Join(silentError{}, ctx.Err())
	case <-time.After(50 * time.Millisecond):
		return nil, silentError{}
	}
}

func (n *memNode) callCount() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls
}

func (n *memNode) Check(remote []byte) error {
	if len(remote) != 8 {
		return errors.New("memnet: not an offer")
	}
	return nil
}

func (n *memNode) Gather(context.Context) (PathAttempt, error) {
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	n.net.next++
	n.gathered++
	id := n.net.next
	n.net.meets[id] = &memMeet{ends: make(chan net.Conn, 1)}
	return &memAttempt{net: n.net, id: id}, nil
}

type memAttempt struct {
	net *memNet
	id  uint64
}

func (a *memAttempt) Offer() []byte { return binary.BigEndian.AppendUint64(nil, a.id) }

func (a *memAttempt) Permit(context.Context, []byte) error { return nil }

func (a *memAttempt) Close() error { return nil }

func (a *memAttempt) Negotiate(ctx context.Context, role ice.Role, remote []byte) (*Path, error) {
	id := a.id
	if role == ice.Answerer {
		id = binary.BigEndian.Uint64(remote)
	}
	a.net.mu.Lock()
	meet, broken, hold := a.net.meets[id], a.net.broken, a.net.hold
	a.net.mu.Unlock()
	if broken != nil {
		return nil, broken
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	var conn net.Conn
	if role == ice.Answerer {
		mine, theirs := newPipe()
		a.net.mu.Lock()
		a.net.links = append(a.net.links, mine, theirs)
		a.net.mu.Unlock()
		meet.ends <- theirs
		conn = mine
	} else {
		select {
		case conn = <-meet.ends:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &Path{
		Conn: conn, Route: ice.Route{Kind: "direct", Via: "mem", Reason: reason.DirectLAN}, Release: func() { conn.Close() },
	}, nil
}

// cut breaks every link there is, as a network does: an error, not an end.
func (n *memNet) cut() {
	n.mu.Lock()
	links := n.links
	n.links = nil
	n.mu.Unlock()
	for _, l := range links {
		l.(*pipeEnd).breakBoth()
	}
}

// freeze makes every link swallow what is written, as a path does that died without a word.
func (n *memNet) freeze() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		l.(*pipeEnd).out.freeze()
	}
}

// pipeEnd is one end of a buffered duplex pipe; net.Pipe has no buffer, and TLS with a mux above wants one.
type pipeEnd struct {
	in, out *pipeHalf
}

var errCut = errors.New("memnet: link cut")

func newPipe() (net.Conn, net.Conn) {
	a, b := newHalf(), newHalf()
	return &pipeEnd{in: a, out: b}, &pipeEnd{in: b, out: a}
}

// pipeHalf is one direction: at most pipeBuffer bytes wait in it.
type pipeHalf struct {
	mu       sync.Mutex
	cond     *sync.Cond
	buf      bytes.Buffer
	err      error
	frozen   bool
	deadline [2]time.Time // of the reader, of the writer
}

const pipeBuffer = 256 << 10

func newHalf() *pipeHalf {
	h := &pipeHalf{}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *pipeHalf) fail(err error) {
	h.mu.Lock()
	if h.err == nil {
		h.err = err
	}
	h.mu.Unlock()
	h.cond.Broadcast()
}

func (h *pipeHalf) freeze() {
	h.mu.Lock()
	h.frozen = true
	h.mu.Unlock()
}

func (h *pipeHalf) setDeadline(side int, t time.Time) {
	h.mu.Lock()
	h.deadline[side] = t
	h.mu.Unlock()
	h.cond.Broadcast()
	if d := time.Until(t); !t.IsZero() && d > 0 {
		time.AfterFunc(d, h.cond.Broadcast)
	}
}

func (h *pipeHalf) lateLocked(side int) bool {
	return !h.deadline[side].IsZero() && !time.Now().Before(h.deadline[side])
}

func (p *pipeEnd) Read(b []byte) (int, error) {
	h := p.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.lateLocked(0):
			return 0, &net.OpError{Op: "read", Err: context.DeadlineExceeded}
		case h.buf.Len() > 0:
			h.cond.Broadcast()
			return h.buf.Read(b)
		case h.err != nil:
			return 0, h.err
		}
		h.cond.Wait()
	}
}

func (p *pipeEnd) Write(b []byte) (n int, err error) {
	h := p.out
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(b) > 0 {
		switch {
		case h.lateLocked(1):
			return n, &net.OpError{Op: "write", Err: context.DeadlineExceeded}
		case h.err != nil:
			return n, io.ErrClosedPipe
		case h.frozen:
			return n + len(b), nil
		case h.buf.Len() >= pipeBuffer:
			h.cond.Wait()
			continue
		}
		k := min(len(b), pipeBuffer-h.buf.Len())
		h.buf.Write(b[:k])
		b, n = b[k:], n+k
		h.cond.Broadcast()
	}
	return n, nil
}

func (p *pipeEnd) breakBoth() {
	for _, h := range []*pipeHalf{p.in, p.out} {
		h.mu.Lock()
		h.buf.Reset()
		h.mu.Unlock()
		h.fail(errCut)
	}
}

func (p *pipeEnd) Close() error {
	p.in.fail(io.ErrClosedPipe)
	p.out.fail(io.EOF)
	return nil
}

func (p *pipeEnd) LocalAddr() net.Addr  { return memAddr{} }
func (p *pipeEnd) RemoteAddr() net.Addr { return memAddr{} }

func (p *pipeEnd) SetDeadline(t time.Time) error {
	p.in.setDeadline(0, t)
	p.out.setDeadline(1, t)
	return nil
}

func (p *pipeEnd) SetReadDeadline(t time.Time) error {
	p.in.setDeadline(0, t)
	return nil
}

func (p *pipeEnd) SetWriteDeadline(t time.Time) error {
	p.out.setDeadline(1, t)
	return nil
}

type memAddr struct{}

func (memAddr) Network() string { return "mem" }
func (memAddr) String() string  { return "mem" }

// testDevice is one device in a test: its Manager and what it observed.
type testDevice struct {
	*Manager
	node   *memNode
	mu     sync.Mutex
	events []Event
	news   chan struct{}
}

// world is a test's set of devices.
type world struct {
	t   *testing.T
	net *memNet
	// make builds Signaler and Pathfinder of a device; the memory network's by default, real sockets in *_socket tests.
	paths func(*testing.T, *memNode) Pathfinder
}

func newWorld(t *testing.T) *world {
	return &world{t: t, net: newMemNet(), paths: func(_ *testing.T, n *memNode) Pathfinder { return n }}
}

func (w *world) device(opts ...func(*Config)) *testDevice {
	w.t.Helper()
	dev, err := identity.New()
	if err != nil {
		w.t.Fatal(err)
	}
	return w.deviceOf(dev, opts...)
}

func (w *world) deviceOf(dev *identity.Device, opts ...func(*Config)) *testDevice {
	w.t.Helper()
	node := &memNode{net: w.net, id: dev.ID(), serveOn: make(chan struct{})}
	d := &testDevice{node: node, news: make(chan struct{}, 1)}
	cfg := Config{
		Device: dev, Signaler: node, Paths: w.paths(w.t, node),
		Allowed: func(identity.DeviceID) bool { return true },
		Observe: d.observe,
	}
	for _, o := range opts {
		o(&cfg)
	}
	d.Manager = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := d.Serve(ctx); err != nil {
			w.t.Errorf("serve: %v", err)
		}
	}()
	<-node.serveOn
	w.net.mu.Lock()
	w.net.serving[dev.ID()] = node
	w.net.mu.Unlock()
	w.t.Cleanup(func() {
		cancel()
		<-ended
		<-d.Done()
	})
	return d
}

func (d *testDevice) observe(e Event) {
	d.mu.Lock()
	d.events = append(d.events, e)
	d.mu.Unlock()
	select {
	case d.news <- struct{}{}:
	default:
	}
}

func (d *testDevice) count(kind EventKind) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, e := range d.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// until waits for a condition that events bring about.
func (d *testDevice) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-d.news:
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waited 20 s for: %s", what)
		}
	}
}
