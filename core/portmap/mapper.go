package portmap

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// How says by which protocol a port is mapped. "" is not at all.
type How string

// Protocols between us and the router, in the order in which they are tried.
const (
	PCP    How = "pcp"
	NATPMP How = "pmp"
	UPnP   How = "upnp"
)

// Times. A mapping is asked for two hours, as RFC 6886 §3.3 recommends.
const (
	wantLifetime  = 2 * time.Hour
	leastLifetime = 2 * time.Minute
	mostLifetime  = 24 * time.Hour // RFC 6887 §15
	againFirst    = time.Minute    // after nobody gave a mapping
	againMost     = 30 * time.Minute
	partingTime   = 2 * time.Second // to give a mapping back
	askTime       = 10 * time.Second
	maxAddresses  = 4 // of the host that get a pinhole: the one that the kernel prefers, and those beside it
)

// Config says which port is to be reachable.
type Config struct {
	Protocol Protocol // default TCP
	Port     uint16   // that we listen on
	V6       bool     // a pinhole for IPv6, instead of a port of the router's for IPv4
	// Changed returns a channel that is closed when the network has changed. nil: it never does.
	Changed func() <-chan struct{}

	gateway func(v6 bool) (router, ours netip.Addr, err error) // tests have another
	server  uint16                                             // and another port of the router

	announcements func(v6 bool, ours netip.Addr) (*net.UDPConn, error) // and another place to hear it,
	rest          time.Duration                                        // and less patience: announceRest
}

// Mapper keeps a mapping. Its methods are safe for concurrent use.
type Mapper struct {
	cfg   Config
	nonce nonce

	mu   sync.Mutex // guards the fields below
	now  lease
	more []lease // pinholes of further addresses of the host
	err  error   // of the last try
}

// lease is a mapping that holds.
type lease struct {
	answer
	how    How
	router netip.Addr
	ours   netip.Addr
	upnp   *igd     // by which UPnP gave it
	hole   *pinhole // the same for IPv6
	like   *pinhole // the first address's, by whose service a further one is asked for
}

// New makes a Mapper; nothing happens before Serve.
func New(cfg Config) *Mapper {
	if cfg.Protocol == 0 {
		cfg.Protocol = TCP
	}
	if cfg.Changed == nil {
		cfg.Changed = func() <-chan struct{} { return nil }
	}
	if cfg.gateway == nil {
		cfg.gateway, cfg.server = gateway, serverPort
	}
	if cfg.announcements == nil {
		cfg.announcements = announcements
	}
	if cfg.rest == 0 {
		cfg.rest = announceRest
	}
	m := &Mapper{cfg: cfg}
	rand.Read(m.nonce[:])
	return m
}

// Mapped returns the address on the outside that leads to our port, and how it came about; zero values without one.
func (m *Mapper) Mapped() (netip.AddrPort, How) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now.outside, m.now.how
}

// Err says why there is no mapping; nil when there is one or nobody was asked yet.
func (m *Mapper) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// Serve keeps the port mapped until ctx ends, and gives the mapping back then. It is for one goroutine, and returns nil.
func (m *Mapper) Serve(ctx context.Context) error {
	defer m.giveBack()
	again := againFirst
	for ctx.Err() == nil {
		changed := m.cfg.Changed()
		pause := again
		if err := m.renew(ctx); err == nil {
			again = againFirst
			m.mu.Lock()
			pause = m.now.lifetime / 2
			m.mu.Unlock()
		} else {
			again = min(2*again, againMost)
		}
		renewed := time.Now()
		told, stop := m.listen()
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-changed:
			again = againFirst
		case <-told: // the router was started anew
			again = againFirst
			m.rest(ctx, renewed)
		case <-ctx.Done():
		}
		t.Stop()
		stop()
	}
	return nil
}

// renew asks for the mapping, first in the way in which it was got.
func (m *Mapper) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	router, ours, err := m.cfg.gateway(m.cfg.V6)
	var next lease
	if err == nil {
		next, err = m.request(ctx, router, ours)
	}
	var more []lease
	if err == nil && m.cfg.V6 {
		more = m.requestMore(ctx, next)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if errors.Is(ctx.Err(), context.Canceled) {
		m.more = append(m.more, more...)
		if m.now.how == "" {
			m.now = next
		}
		return ctx.Err() // the end: what we have is given back
	}
	m.now, m.more, m.err = next, more, err
	return err
}

// requestMore asks for pinholes to the host's other addresses, in the way in which the first was got. Peers are offered all of them, and
// the one that the kernel prefers is often a temporary one (RFC 8981). What is refused is left out until the next renewal.
func (m *Mapper) requestMore(ctx context.Context, first lease) (more []lease) {
	m.mu.Lock()
	olds := m.more
	m.mu.Unlock()
	for _, ours := range beside(first.ours) {
		old, next := lease{how: first.how, router: first.router, ours: ours}, lease{how: first.how, router: first.router, ours: ours, like: first.hole}
		for _, o := range olds {
			if o.how == old.how && o.router == old.router && o.ours == ours {
				old = o
			}
		}
		for _, way := range m.ways() {
			if way.how == first.how && way.ask(ctx, old, &next) == nil {
				more = append(more, next)
			}
		}
	}
	return more
}

func (m *Mapper) request(ctx context.Context, router, ours netip.Addr) (lease, error) {
	m.mu.Lock()
	old := m.now
	m.mu.Unlock()
	if old.router != router || old.ours != ours {
		old = lease{}
	}
	next := lease{router: router, ours: ours}
	var errs []error
	for _, way := range m.ways() {
		if old.how != "" && old.how != way.how {
			continue
		}
		err := way.ask(ctx, old, &next)
		if err == nil {
			next.how = way.how
			return next, nil
		}
		errs = append(errs, err)
		if errors.Is(err, errInside) || ctx.Err() != nil {
			break // by whatever protocol, it is the same router
		}
	}
	if old.how != "" && ctx.Err() == nil { // the router was started anew, or is another one
		m.mu.Lock()
		m.now = lease{}
		m.mu.Unlock()
		return m.request(ctx, router, ours)
	}
	return lease{}, errors.Join(errs...)
}

// way is a protocol and how it is spoken.
type way struct {
	how How
	ask func(ctx context.Context, old lease, next *lease) error
}

// ways are those of the family, in the order in which they are tried.
func (m *Mapper) ways() []way {
	if m.cfg.V6 { // NAT-PMP has no IPv6
		return []way{{PCP, m.askPCP}, {UPnP, m.askPinhole}}
	}
	return []way{{PCP, m.askPCP}, {NATPMP, m.askPMP}, {UPnP, m.askUPnP}}
}

func (m *Mapper) askPCP(ctx context.Context, old lease, next *lease) (err error) {
	ours := netip.AddrPortFrom(next.ours, m.cfg.Port)
	want := old.outside
	if !want.IsValid() {
		want = netip.AddrPortFrom(netip.Addr{}, m.cfg.Port)
	}
	next.answer, err = ask(ctx, next.ours, netip.AddrPortFrom(next.router, m.cfg.server),
		appendPCP(nil, m.nonce, m.cfg.Protocol, ours, want, wantLifetime),
		func(b []byte) (answer, error) { return parsePCP(b, m.nonce, m.cfg.Protocol, m.cfg.Port) })
	return err
}

func (m *Mapper) askPMP(ctx context.Context, old lease, next *lease) (err error) {
	to := netip.AddrPortFrom(next.router, m.cfg.server)
	at, err := ask(ctx, next.ours, to, []byte{0, 0}, parsePMPAddress)
	if err != nil {
		return err
	}
	want := m.cfg.Port
	if old.outside.IsValid() {
		want = old.outside.Port()
	}
	next.answer, err = ask(ctx, next.ours, to, appendPMP(nil, m.cfg.Protocol, m.cfg.Port, want, wantLifetime),
		func(b []byte) (answer, error) { return parsePMP(b, m.cfg.Protocol, m.cfg.Port, at) })
	return err
}

// giveBack ends what the router lent; nobody waits longer than partingTime for it.
func (m *Mapper) giveBack() {
	m.mu.Lock()
	olds := append([]lease{m.now}, m.more...)
	m.now, m.more = lease{}, nil
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), partingTime)
	defer cancel()
	for _, old := range olds {
		m.giveBackOne(ctx, old)
	}
}

func (m *Mapper) giveBackOne(ctx context.Context, old lease) {
	to := netip.AddrPortFrom(old.router, m.cfg.server)
	heard := func(b []byte) (struct{}, error) { return struct{}{}, nil }
	switch old.how {
	case PCP:
		ours := netip.AddrPortFrom(old.ours, m.cfg.Port)
		refused, _ := ask(ctx, old.ours, to, appendPCP(nil, m.nonce, m.cfg.Protocol, ours, old.outside, 0), pcpRefused)
		if refused { // miniupnpd 2.3.1 does not find its own pinholes; then this one shall at least not outlive us by hours
			_, _ = ask(ctx, old.ours, to, appendPCP(nil, m.nonce, m.cfg.Protocol, ours, old.outside, time.Second), heard)
		}
	case NATPMP:
		_, _ = ask(ctx, old.ours, to, appendPMP(nil, m.cfg.Protocol, m.cfg.Port, 0, 0), heard)
	case UPnP:
		if old.hole != nil {
			_ = old.hole.close(ctx)
			return
		}
		_ = old.upnp.remove(ctx, m.cfg.Protocol, old.outside.Port())
	}
}
