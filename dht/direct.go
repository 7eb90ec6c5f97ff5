package dht

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// A request is sent to every address of the contact's record, and again after 300 ms, 600 ms, 1.2 s and so on, ten
// times at most; after a receipt no sooner than every 2 s, for the case that the answer was lost. Ten requests to six
// addresses are 60 kB.
const (
	resendFirst    = 300 * time.Millisecond
	resendMost     = 5 * time.Second
	resendReceived = 2 * time.Second
	maxResends     = 9
)

// Limits of what comes in. Each request costs 0.3 ms of cryptography.
const (
	directQueue  = 64 // requests not yet looked at, of a kilobyte each
	directRate   = 10 // requests a second from one contact
	directBurst  = 20
	answersQueue = 8 // datagrams of one call not yet looked at
)

var (
	errNoAddress = errors.New("no address to ask at")
	errNotHeard  = errors.New("nobody said that it was heard")
)

// direct is the route that asks a contact at the address in its presence record, in one round trip.
type direct struct {
	courier  *Courier
	sink     signalling.Sink
	requests chan incoming // from the socket to Serve

	mu      sync.Mutex // guards the fields below
	marks   map[hint]*mark
	known   []identity.DeviceID // whose marks they are,
	hours   []int64             // and of which hours
	limits  map[identity.DeviceID]*rate.Limiter
	pending map[tag]chan incoming // calls that wait
}

// mark is a contact whose direct requests carry a hint.
type mark struct {
	limit *rate.Limiter
}

// incoming is a datagram and where it came from. Its sealed bytes are its own.
type incoming struct {
	datagram
	from netip.AddrPort
}

func newDirect(c *Courier) *direct {
	return &direct{
		courier: c, requests: make(chan incoming, directQueue),
		marks: map[hint]*mark{}, limits: map[identity.DeviceID]*rate.Limiter{}, pending: map[tag]chan incoming{},
	}
}

// Name returns "direct".
func (d *direct) Name() string { return "direct" }

// Attach sets the sink.
func (d *direct) Attach(sink signalling.Sink) { d.sink = sink }

// receive sorts a datagram. It runs on the library's reading goroutine: it looks at maps and copies, and no more.
func (d *direct) receive(from netip.AddrPort, b []byte) DropReason {
	g, ok := parseDatagram(b)
	if !ok {
		return DropMalformed
	}
	d.mu.Lock()
	queue, drop := d.queueLocked(g)
	d.mu.Unlock()
	if drop != pass {
		return drop
	}
	g.sealed = slices.Clone(g.sealed)
	select {
	case queue <- incoming{g, from}:
	default:
		return DropDirectFlood
	}
	d.courier.node.stats.directRecv.Add(1)
	return pass
}

// queueLocked says who waits for a datagram.
func (d *direct) queueLocked(g datagram) (chan incoming, DropReason) {
	if g.kind != directRequest {
		if queue := d.pending[g.tag]; queue != nil {
			return queue, pass
		}
		return nil, DropDirect
	}
	m := d.marks[g.hint]
	switch {
	case m == nil:
		return nil, DropDirect
	case !m.limit.Allow():
		return nil, DropDirectFlood
	}
	return d.requests, pass
}

// Serve delivers requests until ctx ends. The sender is told of receipt only when the sink says so.
func (d *direct) Serve(ctx context.Context) error {
	tick := time.NewTicker(min(max(d.courier.cfg.Poll/8, 10*time.Millisecond), 250*time.Millisecond))
	defer tick.Stop()
	for {
		d.learn(d.courier.contacts(), time.Now())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case in := <-d.requests:
			d.deliver(in)
		}
	}
}

func (d *direct) deliver(in incoming) {
	conn := d.courier.node.conn
	d.sink(signalling.Arrival{
		Sealed: in.sealed,
		Received: func() {
			_ = conn.writeDirect(appendDatagram(nil, datagram{kind: directReceipt, tag: in.tag}), in.from)
		},
		Reply: func(_ context.Context, sealed []byte) error {
			return conn.writeDirect(appendDatagram(nil, datagram{kind: directAnswer, tag: in.tag, sealed: sealed}), in.from)
		},
	})
}

// learn makes the marks of the contacts for the hours in which a request may be on its way, when either has changed.
func (d *direct) learn(contacts []identity.DeviceID, now time.Time) {
	hours := hoursToRead(now, signalling.MaxLife)
	d.mu.Lock()
	same := slices.Equal(d.known, contacts) && slices.Equal(d.hours, hours)
	d.mu.Unlock()
	if same {
		return
	}
	hints := map[hint]identity.DeviceID{}
	for _, peer := range contacts {
		secret, err := d.courier.secret(peer)
		if err != nil {
			continue
		}
		for _, hour := range hours {
			hints[hintOf(secret, peer, d.courier.self, hour)] = peer
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	limits := map[identity.DeviceID]*rate.Limiter{}
	d.marks = map[hint]*mark{}
	for h, peer := range hints {
		if limits[peer] == nil {
			limits[peer] = d.limits[peer]
		}
		if limits[peer] == nil {
			limits[peer] = rate.NewLimiter(directRate, directBurst)
		}
		d.marks[h] = &mark{limit: limits[peer]}
	}
	d.limits, d.known, d.hours = limits, contacts, hours
}

// Send asks out.To at the addresses it has published, until ctx ends. Answers are not sent this way but by the
// arrival's Reply.
func (d *direct) Send(ctx context.Context, out signalling.Outgoing) error {
	if out.Kind != signalling.Request {
		return nil
	}
	secret, err := d.courier.secret(out.To)
	if err != nil {
		return err
	}
	g := datagram{kind: directRequest, hint: hintOf(secret, d.courier.self, out.To, hourOf(time.Now())), sealed: out.Sealed}
	rand.Read(g.tag[:])
	q := &question{direct: d, bytes: appendDatagram(nil, g), back: d.expect(g.tag), addrs: make(chan []netip.AddrPort, 1)}
	defer d.forget(g.tag)
	return q.run(ctx, out.To)
}

// Notify tells out.To at the addresses it has published, until it says that it has heard or ctx ends. It is part of signalling.Noticer.
func (d *direct) Notify(ctx context.Context, out signalling.Outgoing) error {
	secret, err := d.courier.secret(out.To)
	if err != nil {
		return err
	}
	g := datagram{kind: directRequest, hint: hintOf(secret, d.courier.self, out.To, hourOf(time.Now())), sealed: out.Sealed}
	rand.Read(g.tag[:])
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard := false
	q := &question{direct: d, bytes: appendDatagram(nil, g), back: d.expect(g.tag), addrs: make(chan []netip.AddrPort, 1), receipt: func() { heard = true; cancel() }}
	defer d.forget(g.tag)
	err = q.run(ctx, out.To)
	switch {
	case heard:
		return nil
	case err == nil:
		err = errNotHeard
	}
	return err
}

func (d *direct) expect(t tag) chan incoming {
	d.mu.Lock()
	defer d.mu.Unlock()
	queue := make(chan incoming, answersQueue)
	d.pending[t] = queue
	return queue
}

func (d *direct) forget(t tag) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.pending, t)
}
