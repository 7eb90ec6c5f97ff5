package lan

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// Limits. A stranger's datagram costs a look into a map.
const (
	maxContacts  = 4096
	maxPlaces    = 4  // addresses of one contact that are asked: its interfaces, or who pretends to be it
	queue        = 16 // datagrams of a call that were not looked at
	contactRate  = 20 // queries answered and requests taken a second, of one contact: its names are seen by all on the link
	contactBurst = 40
	replyRate    = 100 // queries answered a second, together
	replyBurst   = 200
	askFirst     = 250 * time.Millisecond // between queries, and between requests; then twice as long each time
	askMost      = 10 * time.Second
	learnContact = time.Second
)

var errNobody = errors.New("nobody on this link answered")

// Config says whose signalling is carried.
type Config struct {
	Device *identity.Device
	Peers  func() []identity.DeviceID // the contacts; at most 4,096, the rest is ignored

	Secrets *signalling.Secrets // of the device; nil: its own
}

// Route is a signalling.Route over the link. Open opens it, Close closes it.
type Route struct {
	cfg  Config
	self identity.DeviceID
	sink signalling.Sink
	net  *sockets
	wg   sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	known   []identity.DeviceID
	hours   []int64
	marks   map[hint]*mark // of those who may call us
	replies *rate.Limiter
	calls   map[tag]chan datagram
	places  map[hint]chan netip.AddrPort // who looks for whom

	stats stats
}

// mark is what one contact may do: look for us, and ask us.
type mark struct{ queries, requests *rate.Limiter }

var _ signalling.Route = (*Route)(nil)

// Open opens the socket that messages go through.
func Open(cfg Config) (*Route, error) {
	n, err := openSockets()
	if err != nil {
		return nil, err
	}
	if cfg.Secrets == nil {
		cfg.Secrets = signalling.NewSecrets(cfg.Device)
	}
	r := &Route{
		cfg: cfg, self: cfg.Device.ID(), net: n,
		marks:   map[hint]*mark{},
		replies: rate.NewLimiter(replyRate, replyBurst),
		calls:   map[tag]chan datagram{}, places: map[hint]chan netip.AddrPort{},
	}
	n.paused = &r.stats.paused
	for _, c := range n.own {
		r.wg.Go(func() { n.read(c, r.receive) })
	}
	return r, nil
}

// Close closes the sockets. Send and Serve have ended before.
func (r *Route) Close() error {
	r.net.close()
	r.wg.Wait()
	return nil
}

// Name returns "lan".
func (r *Route) Name() string { return "lan" }

// Attach sets the sink.
func (r *Route) Attach(sink signalling.Sink) { r.sink = sink }

// Serve answers those who look for us, until ctx ends.
func (r *Route) Serve(ctx context.Context) error {
	tick := time.NewTicker(learnContact)
	defer tick.Stop()
	defer r.net.leave()
	for {
		r.learn(time.Now())
		r.net.join(r.answer)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// learn makes the hints of those who may look for us, when the contacts or the hours have changed.
func (r *Route) learn(now time.Time) {
	peers := slices.DeleteFunc(slices.Clone(r.cfg.Peers()), func(id identity.DeviceID) bool { return id == r.self })
	peers, hours := peers[:min(len(peers), maxContacts)], hoursAt(now)
	r.mu.Lock()
	same := slices.Equal(r.known, peers) && slices.Equal(r.hours, hours)
	r.mu.Unlock()
	if same {
		return
	}
	marks := map[hint]*mark{}
	for _, peer := range peers {
		secret, err := r.cfg.Secrets.Of(peer)
		if err != nil {
			continue
		}
		may := &mark{rate.NewLimiter(contactRate, contactBurst), rate.NewLimiter(contactRate, contactBurst)}
		for _, hour := range hours {
			marks[hintOf(secret, peer, r.self, hour)] = may
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known, r.hours, r.marks = peers, hours, marks
}

// answer takes what came by multicast: a query for us is answered to the asker alone.
func (r *Route) answer(from netip.AddrPort, b []byte) {
	h, id, ok := parseQuery(b)
	if !ok {
		r.stats.unknown.Add(1)
		return
	}
	r.mu.Lock()
	caller := r.marks[h]
	r.mu.Unlock()
	switch {
	case caller == nil:
		r.stats.unknown.Add(1)
		return
	case !caller.queries.Allow() || !r.replies.Allow():
		r.stats.limited.Add(1)
		return
	}
	r.stats.replied.Add(1)
	if b, err := appendReply(h, id, r.net.port(from.Addr())); err == nil {
		r.net.write(b, from)
	}
}

// receive takes what came to our own sockets.
func (r *Route) receive(from netip.AddrPort, b []byte) {
	if h, _, port, ok := parseReply(b); ok {
		r.mu.Lock()
		found := r.places[h]
		r.mu.Unlock()
		if found == nil {
			r.stats.strange.Add(1)
			return
		}
		select {
		case found <- netip.AddrPortFrom(from.Addr(), port):
		default:
			r.stats.flooded.Add(1)
		}
		return
	}
	g, ok := parseDatagram(b)
	if !ok {
		r.stats.malformed.Add(1)
		return
	}
	r.mu.Lock()
	call, caller := r.calls[g.tag], r.marks[g.hint]
	r.mu.Unlock()
	request := g.kind == kindRequest
	switch {
	case request && (caller == nil || r.sink == nil), !request && call == nil:
		r.stats.strange.Add(1)
	case request && !caller.requests.Allow():
		r.stats.flooded.Add(1)
	case request:
		r.stats.received.Add(1)
		r.hand(from, g.hint, g.tag, slices.Clone(g.sealed))
	default:
		g.sealed = slices.Clone(g.sealed)
		select {
		case call <- g:
		default:
			r.stats.flooded.Add(1)
		}
	}
}

// hand hands a request on, with the ways back to where it came from.
func (r *Route) hand(from netip.AddrPort, h hint, t tag, sealed []byte) {
	r.sink(signalling.Arrival{
		Sealed:   sealed,
		Received: func() { r.net.write(appendDatagram(nil, datagram{kindReceipt, h, t, nil}), from) },
		Reply: func(_ context.Context, sealed []byte) error {
			r.net.write(appendDatagram(nil, datagram{kindAnswer, h, t, sealed}), from)
			return nil
		},
	})
}

// Send looks for the recipient and asks it, again and again, until ctx ends. Answers go by the arrival's Reply.
func (r *Route) Send(ctx context.Context, out signalling.Outgoing) error {
	if out.Kind != signalling.Request {
		return nil
	}
	secret, err := r.cfg.Secrets.Of(out.To)
	if err != nil {
		return err
	}
	h := hintOf(secret, r.self, out.To, time.Now().Unix()/3600)
	g := datagram{kind: kindRequest, hint: h, sealed: out.Sealed}
	rand.Read(g.tag[:])
	query, err := appendQuery(h, binary.BigEndian.Uint16(g.tag[:]))
	if err != nil {
		return err
	}
	r.stats.calls.Add(1)
	call, found := make(chan datagram, queue), make(chan netip.AddrPort, queue)
	r.mu.Lock()
	r.calls[g.tag], r.places[h] = call, found
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.calls, g.tag)
		if r.places[h] == found {
			delete(r.places, h)
		}
	}()
	return r.ask(ctx, query, appendDatagram(nil, g), call, found)
}

func (r *Route) ask(ctx context.Context, query, request []byte, call chan datagram, found chan netip.AddrPort) error {
	var places []netip.AddrPort
	pause := askFirst
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			if len(places) == 0 {
				r.stats.nobody.Add(1)
				return errNobody
			}
			return nil
		case <-t.C:
			for _, p := range places {
				r.net.write(request, p)
			}
			r.net.multicast(query)
			t.Reset(pause)
			pause = min(2*pause, askMost)
		case p := <-found:
			if len(places) < maxPlaces && !slices.Contains(places, p) {
				places = append(places, p)
				r.net.write(request, p)
			}
		case g := <-call:
			if g.kind == kindAnswer {
				r.stats.answered.Add(1)
				r.sink(signalling.Arrival{Sealed: g.sealed})
			}
			pause = max(pause, 2*time.Second) // it has the request
		}
	}
}
