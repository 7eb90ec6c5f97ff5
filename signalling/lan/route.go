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
	replyRate    = 20 // queries answered a second, and requests taken from a contact
	replyBurst   = 40
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
	marks   map[hint]*rate.Limiter // of those who may call us
	replies *rate.Limiter
	calls   map[tag]chan datagram
	places  map[hint]chan netip.AddrPort // who looks for whom
}

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
		marks:   map[hint]*rate.Limiter{},
		replies: rate.NewLimiter(replyRate, replyBurst),
		calls:   map[tag]chan datagram{}, places: map[hint]chan netip.AddrPort{},
	}
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
	marks := map[hint]*rate.Limiter{}
	for _, peer := range peers {
		secret, err := r.cfg.Secrets.Of(peer)
		if err != nil {
			continue
		}
		limit := rate.NewLimiter(replyRate, replyBurst)
		for _, hour := range hours {
			marks[hintOf(secret, peer, r.self, hour)] = limit
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
		return
	}
	r.mu.Lock()
	_, ours := r.marks[h]
	ours = ours && r.replies.Allow()
	r.mu.Unlock()
	if !ours {
		return
	}
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
		if found != nil {
			select {
			case found <- netip.AddrPortFrom(from.Addr(), port):
			default:
			}
		}
		return
	}
	g, ok := parseDatagram(b)
	if !ok {
		return
	}
	g.sealed = slices.Clone(g.sealed)
	r.mu.Lock()
	call, limit := r.calls[g.tag], r.marks[g.hint]
	r.mu.Unlock()
	switch {
	case g.kind != kindRequest:
		if call != nil {
			select {
			case call <- g:
			default:
			}
		}
	case limit != nil && limit.Allow() && r.sink != nil:
		back := datagram{kind: kindReceipt, hint: g.hint, tag: g.tag}
		r.sink(signalling.Arrival{
			Sealed:   g.sealed,
			Received: func() { r.net.write(appendDatagram(nil, back), from) },
			Reply: func(_ context.Context, sealed []byte) error {
				r.net.write(appendDatagram(nil, datagram{kindAnswer, g.hint, g.tag, sealed}), from)
				return nil
			},
		})
	}
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
				r.sink(signalling.Arrival{Sealed: g.sealed})
			}
			pause = max(pause, 2*time.Second) // it has the request
		}
	}
}
