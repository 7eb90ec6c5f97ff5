package ice

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/core/turnclient"
)

// datagramLender is a UDP allocation at a relay: core/turnclient's, or one that a test makes.
type datagramLender interface {
	Relayed() netip.AddrPort                               // where peers send to
	Mapped() netip.AddrPort                                // how the relay sees us
	Permit(ctx context.Context, addrs ...netip.Addr) error // those of its family; fails if it permits none
	Bind(ctx context.Context, peer netip.AddrPort) error   // makes datagrams to one peer shorter
	Send(to netip.AddrPort, parts ...[]byte) bool          // one datagram; never waits
	Close() error
	Done() <-chan struct{}
	Err() error
}

// lentUDP is one of our UDP allocations. An attempt has at most one of each family, for the last rung: where no relay lends TCP
// ports, or they led nowhere.
type lentUDP struct {
	datagramLender
	relay Relay
	once  sync.Once
}

const (
	// udpControl is how long a relay that cannot be reached over TCP is asked over UDP: a round trip for the challenge, one for
	// the answer, and one that was lost.
	udpControl = time.Second
	// liars is how long relays are asked for UDP ports beside TCP ones, after an attempt that found no path though a relay had
	// lent TCP ports. pion/turn v2 answers a request for a TCP port with a UDP one, and says nothing.
	liars = 10 * time.Minute
)

// allocateDatagrams borrows a UDP port of one family from a TURN server, on a control connection of its own: over UDP where
// TCP does not lead there.
func allocateDatagrams(ctx context.Context, r Relay, v6, packets bool, receive func(netip.AddrPort, []byte)) (datagramLender, error) {
	cfg := turnclient.Config{Host: r.Server, Username: r.Username, Password: r.Password, TLS: r.TLS, UDP: packets}
	client, err := turnclient.Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	family := turnclient.IPv4
	if v6 {
		family = turnclient.IPv6
	}
	a, err := client.AllocateUDP(ctx, family, receive)
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	return a, nil
}

// borrowUDP asks a relay for a UDP port, after it refused a TCP one with why (nil: it did not).
func (a *Attempt) borrowUDP(ctx context.Context, r Relay, v6 bool, why error) *lentUDP {
	if a.udp == nil || a.ep.cfg.allocateDatagrams == nil || !a.ep.cfg.uses(TypeRelay, false) {
		return nil
	}
	packets := false
	var unreachable *turnclient.UnreachableError
	switch {
	case why == nil, errors.Is(why, turnclient.ErrTransport):
	case errors.As(why, &unreachable) && unreachable.Op == "dial" && r.TLS == nil && a.udp.ports.lately.Load() != stunSilent:
		packets = true
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, udpControl)
		defer cancel()
	default:
		return nil
	}
	l := &lentUDP{relay: r}
	lender, err := a.ep.cfg.allocateDatagrams(ctx, r, v6, packets, func(from netip.AddrPort, b []byte) { a.udp.relayed(l, from, b) })
	if err != nil {
		return nil
	}
	l.datagramLender = lender
	if checkAddrPort(l.Relayed()) != "" || l.Relayed().Addr().Is4() == v6 {
		_ = l.Close()
		return nil
	}
	a.ep.stats.allocations.Add(1)
	return l
}

// firstOfEach keeps one UDP allocation of each family, and gives the others back.
func (a *Attempt) firstOfEach(all []*lentUDP) []*lentUDP {
	var keep []*lentUDP
	for _, l := range all {
		is4 := l.Relayed().Addr().Is4()
		if slices.ContainsFunc(keep, func(k *lentUDP) bool { return k.Relayed().Addr().Is4() == is4 }) {
			a.ep.giveBackUDP(l)
			continue
		}
		keep = append(keep, l)
	}
	return keep
}

// borrowLate asks for UDP ports when the peer's offer says that TCP ones will be of no use to it: it offers none, or its network lets
// TCP out to some ports only and it has no relay. Only before our own offer is written.
func (a *Attempt) borrowLate(ctx context.Context, remote *Offer) {
	tcp := len(remote.relayed()) > 0 || !remote.Network.Filtered &&
		slices.ContainsFunc(remote.Candidates, func(c Candidate) bool { return c.TCP })
	a.mu.Lock()
	wanted := a.stage == gathered && len(a.lentUDP) == 0 && a.policy != DirectOnly
	a.mu.Unlock()
	if tcp || !wanted || len(remote.Fingerprint) == 0 {
		return
	}
	relays := a.ep.servers.Load().relays
	got := make([]*lentUDP, 2*len(relays))
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i] = a.borrowUDP(ctx, relays[i/2], i%2 == 1, nil) })
	}
	wg.Wait()
	keep := a.firstOfEach(slices.DeleteFunc(got, func(l *lentUDP) bool { return l == nil }))
	a.mu.Lock()
	ok := a.stage == gathered
	if ok {
		a.lentUDP = keep
	}
	a.mu.Unlock()
	if !ok {
		for _, l := range keep {
			a.ep.giveBackUDP(l)
		}
	}
}

// suspectRelays notes that relays lent TCP ports which led nowhere.
func (a *Attempt) suspectRelays() {
	a.mu.Lock()
	lent := len(a.lent) > 0 && len(a.lentUDP) == 0 && a.policy != DirectOnly && len(a.remote.Fingerprint) > 0
	a.mu.Unlock()
	if lent && a.udp != nil {
		a.ep.suspect.Store(time.Now().Add(liars).UnixNano())
	}
}

// suspected reports whether UDP ports are wanted whatever relays say of TCP.
func (e *Endpoint) suspected() bool {
	return e.cfg.RelayUDP || time.Now().UnixNano() < e.suspect.Load()
}

// giveBackUDP is giveBack.
func (e *Endpoint) giveBackUDP(l *lentUDP) { e.release(&l.once, l.Close) }

// lentOf returns our UDP allocation of an address' family, or nil.
func (a *Attempt) lentOf(addr netip.Addr) *lentUDP {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.lentUDP {
		if l.Relayed().Addr().Is4() == addr.Is4() {
			return l
		}
	}
	return nil
}

// udpKey names one way of an agent: an address of the peer, and whether our relay stands between.
type udpKey struct {
	relayed bool
	addr    netip.AddrPort
}

func keyOf(w way) udpKey { return udpKey{w.lent != nil, w.to} }

// far reports whether a way leads through a relay, ours or the peer's.
func (l *udpLeg) far(k udpKey) bool { return k.relayed || l.typ == TypeRelay }

// relayed takes a datagram that came to our relayed address. It can only be this attempt's.
func (u *udpAgent) relayed(l *lentUDP, from netip.AddrPort, b []byte) {
	w := way{to: from, lent: l}
	switch {
	case len(b) < 5 || len(b) > maxDatagram || from.Port() == 0:
	case b[0] > 3:
		if binary.BigEndian.Uint32(b) == u.tagIn && u.knows(keyOf(w)) {
			u.in.put(b[4:])
			u.in.ready()
			return
		}
	default:
		m, err := stun.Parse(b)
		if err != nil || m.Type().Method != stun.MethodBinding {
			break
		}
		key := u.peerPassword()
		if ufrag, ok := addressee(m); ok {
			if string(ufrag) != u.ufrag {
				break
			}
			key = u.password
		} else if c := m.Type().Class; key == "" || c != stun.ClassSuccess && c != stun.ClassError {
			break
		}
		if m.CheckIntegrity([]byte(key)) == nil {
			u.heard(b, w)
			return
		}
	}
	u.ports.ep.stats.udpStray.Add(1)
}

// bindRelayed makes the chosen way through our relay cheaper, and ends the pair when the relay does.
func (u *udpAgent) bindRelayed(w way) {
	defer u.ports.ep.wg.Done()
	ctx, cancel := context.WithTimeout(u.ports.ep.ctx, permitTimeout)
	_ = w.lent.Bind(ctx, w.to) // without it each datagram is 32 bytes longer
	cancel()
	select {
	case <-w.lent.Done():
		u.in.fail(w.lent.Err())
	case <-u.ports.ep.ctx.Done():
	}
}

// openLast lets UDP go through relays, as the last of all: TCP through a relay had its head start by now.
func (a *Attempt) openLast() {
	if a.udp == nil {
		return
	}
	a.mu.Lock()
	tcp := len(a.lent) > 0
	for _, l := range a.legs {
		tcp = tcp || l.relayed
	}
	a.mu.Unlock()
	if tcp && !sleep(a.ctx, a.ep.cfg.RelayHold) {
		return
	}
	a.mu.Lock()
	a.nextOpen, a.udpLast = true, true
	a.mu.Unlock()
}

// lastOpen reports whether UDP may go through relays.
func (a *Attempt) lastOpen() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.udpLast
}
