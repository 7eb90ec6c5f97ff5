package signalling

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"traverse.internal/identity"
)

// memRoute is a route in memory: what is sent to a device arrives at the memRoute of the same network that is attached
// to it.
type memRoute struct {
	name  string
	net   *memNet
	self  identity.DeviceID
	sink  Sink
	delay time.Duration // on the way
	lose  int           // so many messages are lost first
	fail  error         // Send returns it at once
	twice bool          // every message arrives twice
	keeps bool          // carries answers by Send, like a mailbox, and not by Reply

	mu   sync.Mutex
	sent []Outgoing
}

type memNet struct {
	mu     sync.Mutex
	routes []*memRoute
}

func (n *memNet) route(name string, d *identity.Device) *memRoute {
	r := &memRoute{name: name, net: n, self: d.ID()}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.routes = append(n.routes, r)
	return r
}

func (n *memNet) find(name string, to identity.DeviceID) *memRoute {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.IndexFunc(n.routes, func(r *memRoute) bool { return r.name == name && r.self == to })
	if i < 0 {
		return nil
	}
	return n.routes[i]
}

func (r *memRoute) Name() string                    { return r.name }
func (r *memRoute) Attach(sink Sink)                { r.sink = sink }
func (r *memRoute) Serve(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func (r *memRoute) Send(ctx context.Context, out Outgoing) error {
	if r.fail != nil {
		return r.fail
	}
	if out.Kind == Answer && !r.keeps {
		return nil
	}
	r.carry(ctx, out)
	if out.Kind == Request {
		<-ctx.Done()
	}
	return nil
}

func (r *memRoute) carry(ctx context.Context, out Outgoing) {
	r.mu.Lock()
	r.sent = append(r.sent, out)
	lost := len(r.sent) <= r.lose
	r.mu.Unlock()
	to := r.net.find(r.name, out.To)
	if lost || to == nil {
		return
	}
	time.Sleep(r.delay) // only ever in a synctest bubble
	back := func(ctx context.Context, sealed []byte) error {
		to.carry(ctx, Outgoing{Kind: Answer, To: r.self, Sealed: sealed})
		return nil
	}
	if to.keeps {
		back = nil
	}
	to.sink(Arrival{Sealed: out.Sealed, Reply: back})
	if r.twice {
		to.sink(Arrival{Sealed: out.Sealed, Reply: back})
	}
}

// sendings returns what was sent by the route.
func (r *memRoute) sendings() []Outgoing {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sent)
}

// memPresence finds what it is told.
type memPresence struct {
	finding Finding
	after   time.Duration
}

func (p memPresence) Serve(ctx context.Context) error { <-ctx.Done(); return nil }

func (p memPresence) Find(ctx context.Context, _ identity.DeviceID) Finding {
	if p.finding != FoundFresh {
		<-ctx.Done()
		return p.finding
	}
	select {
	case <-time.After(p.after):
		return FoundFresh
	case <-ctx.Done():
		return FoundNothing
	}
}

var errDeclined = errors.New("declined")

// echo answers an offer with "re: " and the offer, and counts.
type echo struct {
	mu    sync.Mutex
	froms []identity.DeviceID
	err   error
	work  time.Duration

	routes func(context.Context) string // says by which route a request came; nil: nobody asks
	last   string
}

// route is by which route the last request came.
func (e *echo) route() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}

func (e *echo) handle(ctx context.Context, from identity.DeviceID, offer []byte) ([]byte, error) {
	e.mu.Lock()
	e.froms = append(e.froms, from)
	if e.routes != nil {
		e.last = e.routes(ctx)
	}
	e.mu.Unlock()
	if e.work > 0 {
		select {
		case <-time.After(e.work):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return append([]byte("re: "), offer...), e.err
}

func (e *echo) handled() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.froms)
}

// pair is two devices on one network with one route each; more can be set before start.
type pair struct {
	net         memNet
	alice, bob  *identity.Device
	a, b        *Signaler
	routeA      []*memRoute
	routeB      []*memRoute
	cfgA, cfgB  Config
	echo        echo
	stop        context.CancelFunc
	serving     sync.WaitGroup
	serveErrors []error
}

func newPair(t *testing.T, routes ...string) *pair {
	t.Helper()
	p := &pair{alice: newDevice(t), bob: newDevice(t)}
	for _, name := range routes {
		p.routeA = append(p.routeA, p.net.route(name, p.alice))
		p.routeB = append(p.routeB, p.net.route(name, p.bob))
	}
	all := func(identity.DeviceID) bool { return true }
	p.cfgA = Config{Device: p.alice, Allowed: all, Presence: memPresence{finding: FoundFresh}}
	p.cfgB = Config{Device: p.bob, Allowed: all, Presence: memPresence{finding: FoundFresh}}
	for i := range routes {
		p.cfgA.Routes = append(p.cfgA.Routes, p.routeA[i])
		p.cfgB.Routes = append(p.cfgB.Routes, p.routeB[i])
	}
	return p
}

// start begins to serve both; end stops them and waits.
func (p *pair) start(t *testing.T) {
	t.Helper()
	var err error
	if p.a, err = New(p.cfgA); err != nil {
		t.Fatal(err)
	}
	if p.b, err = New(p.cfgB); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p.stop = cancel
	p.serveErrors = make([]error, 2)
	p.serving.Go(func() { p.serveErrors[0] = p.a.Serve(ctx, p.echo.handle) })
	p.serving.Go(func() { p.serveErrors[1] = p.b.Serve(ctx, p.echo.handle) })
}

func (p *pair) end(t *testing.T) {
	t.Helper()
	p.stop()
	p.serving.Wait()
	for _, err := range p.serveErrors {
		if err != nil {
			t.Errorf("serve: %v", err)
		}
	}
}
