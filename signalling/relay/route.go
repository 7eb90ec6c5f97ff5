package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"traverse.internal/core/pushwire"
	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// Limits.
const (
	maxRelays    = 2    // of our own that a connection is kept to
	maxContacts  = 1024 // who can hand in; the rest calls by slot. At the change of the hour they have two mailboxes each, as many as a relay takes
	maxPublished = 4    // addresses of our relays, one or two each
	maxAsked     = 4    // addresses of a contact's relays that are asked

	pushRate  = 20 // requests a second that our relay is believed; each costs 0.3 ms
	pushBurst = 60
)

// Relay is a relay of our own.
type Relay struct {
	Address        string // host:port of a TCP or TLS listener
	Name           string // of the host, when its certificate must be vouched for; "": it shows that it knows the password, and no more
	User, Password string // "": the device's certificate, and then Name is needed
}

// Config says whose signalling is carried and over which relays.
type Config struct {
	Device *identity.Device
	Peers  func() []identity.DeviceID // the contacts; 1,024 of them can hand in
	Relays []Relay                    // our own; the first two are used. SetRelays replaces them

	Secrets *signalling.Secrets // of the device; nil: its own

	// Watch calls each with the addresses of the relays where peer is registered, by its presence, and again whenever that is
	// found anew, until each returns false or ctx ends.
	Watch func(ctx context.Context, peer identity.DeviceID, each func([]netip.AddrPort) (more bool))
}

// Route is a signalling.Route through relays.
type Route struct {
	cfg   Config
	self  identity.DeviceID
	limit *rate.Limiter
	sink  signalling.Sink
	stats stats

	instance pushwire.Instance

	mu      sync.Mutex                                         // guards the fields below
	asking  map[identity.DeviceID]map[*context.CancelFunc]bool // calls that are being asked, to begin anew
	keepers []*keeper                                          // replaced, never changed; their contents are their own
	renewed chan struct{}                                      // there are other keepers
}

var _ signalling.Route = (*Route)(nil)

// New makes a Route. Without relays of its own it calls, and is not called.
func New(cfg Config) (*Route, error) {
	if cfg.Secrets == nil {
		cfg.Secrets = signalling.NewSecrets(cfg.Device)
	}
	r := &Route{
		cfg: cfg, self: cfg.Device.ID(), limit: rate.NewLimiter(pushRate, pushBurst),
		renewed: make(chan struct{}, 1), asking: map[identity.DeviceID]map[*context.CancelFunc]bool{},
	}
	_, _ = rand.Read(r.instance[:]) // never fails since Go 1.24
	if err := Check(cfg.Relays); err != nil {
		return nil, err
	}
	r.SetRelays(cfg.Relays)
	return r, nil
}

// Check names the first thing that is wrong with relays.
func Check(relays []Relay) error {
	for _, relay := range relays[:min(len(relays), maxRelays)] {
		if relay.User == "" && relay.Name == "" {
			return errors.New("relay: config: without a password a relay is known by the name of its host only")
		}
	}
	return nil
}

// SetRelays replaces our own relays by these, which Check has passed. A registration at one that stays as it was goes on.
func (r *Route) SetRelays(relays []Relay) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var next []*keeper
	for _, relay := range relays[:min(len(relays), maxRelays)] {
		same := func(k *keeper) bool { return k.relay == relay }
		if slices.ContainsFunc(next, same) { // named twice
			continue
		}
		if i := slices.IndexFunc(r.keepers, same); i >= 0 {
			next = append(next, r.keepers[i])
		} else {
			next = append(next, newKeeper(r, relay))
		}
	}
	r.keepers = next
	select {
	case r.renewed <- struct{}{}:
	default:
	}
}

// kept are the keepers.
func (r *Route) kept() []*keeper {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keepers
}

// Name returns "push".
func (r *Route) Name() string { return "push" }

// Attach sets the sink.
func (r *Route) Attach(sink signalling.Sink) { r.sink = sink }

// Serve keeps the registrations until ctx ends.
func (r *Route) Serve(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ends := map[*keeper]context.CancelFunc{}
	for {
		now := r.kept()
		for k, end := range ends {
			if !slices.Contains(now, k) {
				end()
				delete(ends, k)
			}
		}
		for _, k := range now {
			if ends[k] == nil {
				var until context.Context
				until, ends[k] = context.WithCancel(ctx)
				wg.Go(func() { k.keep(until) })
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.renewed:
		}
	}
}

// Published are the addresses of the relays where this device is registered now, for its presence records.
func (r *Route) Published() []netip.AddrPort {
	var out []netip.AddrPort
	for _, k := range r.kept() {
		for _, a := range k.addresses() {
			if !slices.Contains(out, a) && len(out) < maxPublished {
				out = append(out, a)
			}
		}
	}
	return out
}

// deliver hands a pushed request to the sink. It runs on the link's reading goroutine.
func (r *Route) deliver(l *link, f pushwire.Frame) {
	if !r.limit.Allow() || r.sink == nil {
		r.stats.flooded.Add(1)
		return
	}
	r.stats.received.Add(1)
	tag := f.Tag
	r.sink(signalling.Arrival{Sealed: f.Sealed, Reply: func(_ context.Context, sealed []byte) error {
		return l.write(pushwire.Frame{Kind: pushwire.Answer, Tag: tag, Sealed: sealed})
	}})
}

// hourOf numbers the hours since 1970.
func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// hoursAt are the hours in which a request that arrives now may have been made.
func hoursAt(now time.Time) (hours []int64) {
	for h := hourOf(now.Add(-signalling.Skew - signalling.MaxLife)); h <= hourOf(now.Add(signalling.Skew)); h++ {
		hours = append(hours, h)
	}
	return hours
}

// mailboxes are the tokens of what contacts may hand in for us.
func (r *Route) mailboxes(contacts []identity.DeviceID, hours []int64) []byte {
	var out []byte
	for _, peer := range contacts {
		secret, err := r.cfg.Secrets.Of(peer)
		if err != nil {
			continue
		}
		for _, hour := range hours {
			t := pushwire.TokenOf(secret, peer, r.self, hour)
			out = append(out, t[:]...)
		}
	}
	return out
}

// contacts are those who can hand in.
func (r *Route) contacts() []identity.DeviceID {
	peers := slices.DeleteFunc(slices.Clone(r.cfg.Peers()), func(id identity.DeviceID) bool { return id == r.self })
	return peers[:min(len(peers), maxContacts)]
}

// place is an address as one text, for errors.
func place(a netip.AddrPort, err error) error { return fmt.Errorf("%v: %w", a, err) }

// addrOf is the address of a connection's other end.
func addrOf(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
