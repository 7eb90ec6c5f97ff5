package dht

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// A Courier carries one device's signalling over a Node: its Routes are the ways, and it is the signalling.Presence
// beside them. It starts nothing by itself. Safe for concurrent use.
type Courier struct {
	node *Node
	cfg  CourierConfig
	self identity.DeviceID

	direct *direct
	mail   *mail
	callto *callto
	finds  finds

	mu     sync.Mutex        // guards the fields below
	seen   map[[32]byte]seen // mailboxes: the newest sequence number read
	posted map[identity.DeviceID]string
}

// RouteSet says which ways a Courier uses.
type RouteSet uint8

// The ways, cheapest first.
const (
	RouteDirect RouteSet = 1 << iota // ask at the address in the contact's presence record
	RouteSlot                        // leave it in the pairwise slot
	RouteCallto                      // leave it in the box that anyone can find who knows the id; and look into one's own
)

// CourierConfig says whose mail is carried, and how often mailboxes are looked into. Zero durations are the mode's.
type CourierConfig struct {
	Device *identity.Device           // required
	Peers  func() []identity.DeviceID // the contacts: who can find us, and whose slots are polled. At most 4,096, the rest is ignored.
	Routes RouteSet                   // default: all

	Secrets *signalling.Secrets // of the device; nil: its own

	// Announce are the addresses to publish, at most 6; nil: the address listened on, or the interfaces' and the one
	// that other nodes see.
	Announce []netip.AddrPort
	// Mapped says which address on the outside the router leads to this socket at the moment; it is published first. nil: none.
	Mapped func() netip.AddrPort

	// Twin is told when somebody else holds this device's key and publishes: a copied home, a restored backup beside the original. It gets the addresses
	// of the other one. Nil: nobody looks.
	Twin func(other []netip.AddrPort)

	// Moved is called when what is published has changed, at first too; it must not block. Nil: nobody cares.
	Moved func()

	// Relays are the addresses of the relays where this device is registered for push now, to publish beside, at most 4; nil: none.
	Relays func() []netip.AddrPort

	Poll       time.Duration // each contact's slot; private 2 s, Mainline 30 s; longer with many contacts, at most 50 s
	CalltoPoll time.Duration // own callto box; private 10 s, Mainline 60 s
	Republish  time.Duration // own presence; private 1 min, Mainline 20 min, at most 72 min; it holds for two and a half times as long, at least 10 s
}

// Limits of a courier.
const (
	maxContacts = 4096
	// With many contacts polls are spread so that no more gets an hour are made than this, as long as no slot waits
	// longer than maxPoll: a request lives 120 s, and has to be read and answered in that time.
	budgetPrivate  = 36_000 // 10 a second: 20 contacts every 2 s
	budgetMainline = 3_600  // 1 a second: 30 contacts every 30 s
	maxPoll        = 50 * time.Second
	minLife        = 10 * time.Second // of a presence record; expiry has whole seconds
)

// check fills in defaults and names the first thing that is wrong.
func (c *CourierConfig) check(m Mode) error {
	if c.Device == nil {
		return errors.New("dht: courier: no device")
	}
	if c.Peers == nil {
		c.Peers = func() []identity.DeviceID { return nil }
	}
	if c.Routes == 0 {
		c.Routes = RouteDirect | RouteSlot | RouteCallto
	}
	if len(c.Announce) > maxAddrs {
		return fmt.Errorf("dht: courier: %d addresses to announce, at most %d", len(c.Announce), maxAddrs)
	}
	poll, box, republish := 2*time.Second, 10*time.Second, time.Minute
	if m == Mainline {
		poll, box, republish = 30*time.Second, time.Minute, 20*time.Minute
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		most  time.Duration
		unset time.Duration
	}{
		{"poll", &c.Poll, maxPoll, poll},
		{"callto poll", &c.CalltoPoll, signalling.MaxLife, box},
		{"republish", &c.Republish, 72 * time.Minute, republish}, // 5/2 of it is MaxPresenceLife
	} {
		if *d.value == 0 {
			*d.value = d.unset
		}
		if *d.value < 0 || *d.value > d.most {
			return fmt.Errorf("dht: courier: %s interval %v is not within %v", d.name, *d.value, d.most)
		}
	}
	return nil
}

// NewCourier makes the courier of a device. A node has one.
func NewCourier(node *Node, cfg CourierConfig) (*Courier, error) {
	if err := cfg.check(node.cfg.Mode); err != nil {
		return nil, err
	}
	if cfg.Secrets == nil {
		cfg.Secrets = signalling.NewSecrets(cfg.Device)
	}
	c := &Courier{
		node: node, cfg: cfg, self: cfg.Device.ID(),
		seen: map[[32]byte]seen{}, posted: map[identity.DeviceID]string{},
	}
	c.finds.byPeer = map[identity.DeviceID]*find{}
	c.direct = newDirect(c)
	c.mail = &mail{courier: c}
	c.callto = &callto{courier: c}
	if cfg.Routes&RouteDirect != 0 {
		var sink directSink = c.direct
		node.conn.direct.Store(&sink)
	}
	return c, nil
}

// Routes returns the ways that are switched on, cheapest first.
func (c *Courier) Routes() []signalling.Route {
	var routes []signalling.Route
	if c.cfg.Routes&RouteDirect != 0 {
		routes = append(routes, c.direct)
	}
	if c.cfg.Routes&RouteSlot != 0 {
		routes = append(routes, c.mail)
	}
	if c.cfg.Routes&RouteCallto != 0 {
		routes = append(routes, c.callto)
	}
	return routes
}

// contacts returns the peers, without ourselves and within the limit.
func (c *Courier) contacts() []identity.DeviceID {
	peers := slices.DeleteFunc(slices.Clone(c.cfg.Peers()), func(id identity.DeviceID) bool { return id == c.self })
	return peers[:min(len(peers), maxContacts)]
}

// secret returns what we share with peer.
func (c *Courier) secret(peer identity.DeviceID) ([32]byte, error) { return c.cfg.Secrets.Of(peer) }

// life is how long our presence records hold.
func (c *Courier) life() time.Duration { return max(c.cfg.Republish*5/2, minLife) }

// pollInterval is how often each of n contacts' slots is looked into.
func (c *Courier) pollInterval(n int) time.Duration {
	budget := budgetPrivate
	if c.node.cfg.Mode == Mainline {
		budget = budgetMainline
	}
	spread := time.Duration(n) * time.Hour / time.Duration(budget)
	return min(max(c.cfg.Poll, spread), maxPoll)
}

// CallTimeout is how long a call should wait for its answer: by a slot it takes up to two intervals, and a lookup on the way may have to be repeated.
func (c *Courier) CallTimeout() time.Duration {
	return min(max(signalling.DefaultTimeout, c.cfg.Poll*5/2), signalling.MaxLife)
}

// callPoll is how often an answer is looked for while a call waits: one person's waiting, so that it may cost.
func (c *Courier) callPoll() time.Duration { return max(c.cfg.Poll/8, 50*time.Millisecond) }

// places are what we publish: where a contact can ask us directly, and by which relays.
func (c *Courier) places() places {
	p := places{addrs: c.addresses()}
	if c.cfg.Relays != nil {
		p.relays = c.cfg.Relays()
	}
	return p
}

// addresses are where a contact can ask us directly.
func (c *Courier) addresses() []netip.AddrPort {
	if c.cfg.Announce != nil {
		return c.cfg.Announce
	}
	if c.cfg.Routes&RouteDirect == 0 {
		return nil
	}
	own := c.node.Addr()
	if !own.Addr().IsUnspecified() {
		return []netip.AddrPort{own}
	}
	var addrs []netip.AddrPort
	if c.cfg.Mapped != nil {
		if at := c.cfg.Mapped(); c.node.cfg.Mode.allowsDirect(at) {
			addrs = append(addrs, at)
		}
	}
	for _, at := range c.node.observed.believed() {
		if !slices.Contains(addrs, at) {
			addrs = append(addrs, at)
		}
	}
	for _, ip := range interfaceAddrs() {
		a := netip.AddrPortFrom(ip, own.Port())
		if (own.Addr().Is6() || ip.Is4()) && c.node.cfg.Mode.allowsDirect(a) && !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs[:min(len(addrs), maxAddrs)]
}

// interfaceAddrs lists this host's addresses, loopback only when there is nothing else.
func interfaceAddrs() (addrs []netip.Addr) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var loopback []netip.Addr
	for _, a := range list {
		ipnet, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, _ := netip.AddrFromSlice(ipnet.IP)
		switch ip = ip.Unmap(); {
		case ip.IsLoopback():
			loopback = append(loopback, ip)
		case ip.IsGlobalUnicast(): // RFC 1918 and ULA are: a contact may be on the same LAN
			addrs = append(addrs, ip)
		}
	}
	if len(addrs) == 0 {
		return loopback
	}
	return addrs
}

// sealedLen reports whether n is the length of a sealed message.
func sealedLen(n int) bool { return n == signalling.SealedSmall || n == signalling.SealedLarge }

// wait returns after d, or earlier with false when ctx ends.
func wait(ctx context.Context, d time.Duration) bool { return waitOr(ctx, d, nil) }

// waitOr is wait that ends early, with true, when the channel is closed.
func waitOr(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-early:
		return true
	case <-t.C:
		return true
	}
}
