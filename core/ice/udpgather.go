package ice

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"traverse.internal/core/reason"
	"traverse.internal/core/stun"
)

// Limits of what is asked of STUN servers. Their answers are help: a gathering waits for them half a second, not longer.
const (
	maxSTUN     = 4 // servers that are asked, each by every socket
	stunPatient = 500 * time.Millisecond
)

// stunAgain is how long an answer is waited for before the question is repeated: RFC 8489 §6.2.1 with a first wait of 100 ms, since
// the answer is of no use later.
var stunAgain = [...]time.Duration{100 * time.Millisecond, 200 * time.Millisecond, stunPatient}

// query is one question to a STUN server.
type query struct {
	once   sync.Once
	server netip.AddrPort
	got    chan netip.AddrPort
}

// answered takes the server's answer.
func (q *query) answered(m stun.Message, w way) {
	if w.to != q.server || m.Type().Class != stun.ClassSuccess {
		return
	}
	at, err := m.XORAddr(stun.AttrXORMappedAddress)
	if err != nil {
		return
	}
	q.once.Do(func() { q.got <- netip.AddrPortFrom(at.Addr().Unmap(), at.Port()) })
}

// reflexive asks the STUN servers how they see our UDP sockets. It returns what they saw, and how many questions had no answer.
func (p *udpPorts) reflexive(ctx context.Context) (seen []netip.AddrPort, silent int) {
	ctx, cancel := context.WithTimeout(ctx, stunPatient)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, server := range p.servers(ctx) {
		for _, s := range p.of(server.Addr()) {
			wg.Go(func() {
				at, ok := p.ask(ctx, s, server)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case !ok:
					silent++
				case checkAddrPort(at) == "" && !slices.Contains(seen, at):
					seen = append(seen, at)
				}
			})
		}
	}
	wg.Wait()
	return seen, silent
}

// servers resolves the STUN servers.
func (p *udpPorts) servers(ctx context.Context) []netip.AddrPort {
	var out []netip.AddrPort
	all := p.ep.servers.Load().stun
	for _, s := range all[:min(len(all), maxSTUN)] {
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			continue
		}
		number, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
		if err != nil {
			continue
		}
		addrs, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		var four, six bool
		for _, a := range addrs {
			a = a.Unmap()
			if family := &six; !*family && a.Is6() {
				*family = true
			} else if family := &four; !*family && a.Is4() {
				*family = true
			} else {
				continue
			}
			if a.IsLoopback() && !p.ep.cfg.Loopback {
				continue
			}
			out = append(out, netip.AddrPortFrom(a, uint16(number)))
		}
	}
	return out
}

// ask asks one server through one socket.
func (p *udpPorts) ask(ctx context.Context, s *udpSock, server netip.AddrPort) (netip.AddrPort, bool) {
	id := stun.NewTransactionID()
	q := &query{server: server, got: make(chan netip.AddrPort, 1)}
	p.mu.Lock()
	p.asked[id] = q
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.asked, id)
		p.mu.Unlock()
	}()
	b := stun.New(nil, stun.MethodBinding.Request(), id)
	b.AddFingerprint()
	for _, wait := range stunAgain {
		p.send(b.Bytes(), way{sock: s, to: server})
		t := time.NewTimer(wait)
		select {
		case at := <-q.got:
			t.Stop()
			return at, true
		case <-ctx.Done():
			t.Stop()
			return netip.AddrPort{}, false
		case <-t.C:
		}
	}
	return netip.AddrPort{}, false
}

// UseUDP lets the attempt use UDP as well as TCP: its offer states the candidates, and the fingerprint of the certificate that
// DTLS will show (32 to 64 bytes). Call it before Offer. It reports whether there is any UDP to use.
func (a *Attempt) UseUDP(fingerprint []byte) bool {
	if a.udp == nil || len(fingerprint) < minPrint || len(fingerprint) > maxPrint {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fingerprint = slices.Clone(fingerprint)
	return true
}

// udpCandidates are those of our offer: at most half as many as the format has, so that TCP's find room in 700 bytes.
func (a *Attempt) udpCandidates() []Candidate {
	var out []Candidate
	add := func(t CandidateType, most int, addrs []netip.AddrPort) {
		for i, at := range addrs[:min(len(addrs), most)] {
			out = append(out, Candidate{
				Foundation: foundation(t, at.Addr()) + "U", Component: 1, Addr: at, Type: t,
				Priority: priority(t, maxStreams+i), // behind TCP's of the type: what is left out for want of room
			})
		}
	}
	add(TypeHost, MaxHosts/2, a.udpHosts)
	add(TypeSrflx, MaxReflexive/2, a.udpSeen)
	return out
}

// startUDP gathers beside what the relays are asked over TCP. The function that it returns waits for the end, and not for long: what
// takes a round trip here has taken several there.
func (a *Attempt) startUDP(ctx context.Context) (wait func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.gatherUDP(ctx)
	}()
	alone := len(a.ep.servers.Load().relays) == 0
	return func() {
		if !alone {
			defer time.AfterFunc(a.udp.ports.grace(), cancel).Stop()
		}
		<-done
		cancel()
	}
}

// grace is how long an answer over UDP may come after the relays' over TCP: where none came the last time, not long.
func (p *udpPorts) grace() time.Duration {
	switch p.lately.Load() {
	case stunAnswered:
		return stunPatient
	case stunSilent:
		return stunPatient / 10
	}
	return stunPatient / 2
}

// What became of the last questions.
const (
	stunAnswered = 1 + iota
	stunSilent
)

// gatherUDP finds what the UDP candidates are. It is called once, by Gather.
func (a *Attempt) gatherUDP(ctx context.Context) {
	if a.wants == RelayOnly {
		return
	}
	for _, h := range a.hosts {
		if !a.ep.cfg.uses(TypeHost, false) {
			break
		}
		for _, s := range a.udp.ports.of(h.Addr()) {
			if local := s.local.Addr(); local == h.Addr() || local.IsUnspecified() {
				a.udpHosts = append(a.udpHosts, netip.AddrPortFrom(h.Addr(), s.local.Port()))
				break
			}
		}
	}
	if !a.ep.cfg.uses(TypeSrflx, false) {
		return
	}
	seen, silent := a.udp.ports.reflexive(ctx)
	for _, at := range append(a.ep.mappedUDP(), seen...) {
		if !slices.Contains(a.udpHosts, at) && !slices.Contains(a.udpSeen, at) {
			a.udpSeen = append(a.udpSeen, at)
		}
	}
	a.udpSilent = silent > 0 && len(seen) == 0
	switch {
	case a.udpSilent:
		a.udp.ports.lately.Store(stunSilent)
	case len(seen) > 0:
		a.udp.ports.lately.Store(stunAnswered)
	}
}

// mappedUDP is the address on the outside that the router maps to our UDP port, if there is one.
func (e *Endpoint) mappedUDP() []netip.AddrPort {
	if e.cfg.MappedUDP == nil {
		return nil
	}
	if at := e.cfg.MappedUDP(); checkAddrPort(at) == "" {
		return []netip.AddrPort{at}
	}
	return nil
}

// udpWays returns how many ways there may be over UDP: none unless both sides offered it.
func (a *Attempt) udpWays(remote *Offer) int {
	a.mu.Lock()
	offered := a.udp != nil && a.fingerprint != nil && len(remote.Fingerprint) > 0
	borrowed := len(a.lentUDP)
	near := a.policy != RelayOnly
	a.mu.Unlock()
	if !offered {
		return 0
	}
	n := len(a.udpTargets(remote))
	if n == 0 && near { // the peer may show itself from addresses that it does not know
		n = len(a.udpHosts)
	}
	return n + borrowed
}

// udpTarget is a candidate of the peer, and the ways that are tried there.
type udpTarget struct {
	Candidate
	ways []udpKey
}

// udpTargets returns whom to check, in the order of the offer: from our own sockets, and from a relayed address of ours. Through a
// relay, ours or theirs, as far as the policy has it.
func (a *Attempt) udpTargets(remote *Offer) []udpTarget {
	policy := a.rules()
	var out []udpTarget
	for _, c := range remote.Candidates {
		ip, far := c.Addr.Addr(), c.Type == TypeRelay
		switch {
		case c.TCP, c.Component != 1, !a.ep.cfg.uses(c.Type, false):
		case ip.IsLoopback() && !a.ep.cfg.Loopback, ip.IsLinkLocalUnicast():
		case far && (policy == DirectOnly || !a.ep.cfg.Loopback && c.Addr.Port() < firstUnreserved):
		case slices.Contains(a.udpHosts, c.Addr), slices.ContainsFunc(out, func(o udpTarget) bool { return o.Addr == c.Addr }):
		default:
			t := udpTarget{Candidate: c}
			if far || policy != RelayOnly && a.ep.dialsTo(ip) {
				t.ways = append(t.ways, udpKey{false, c.Addr})
			}
			if policy != DirectOnly && a.lentOf(ip) != nil {
				t.ways = append(t.ways, udpKey{true, c.Addr})
			}
			if len(t.ways) > 0 {
				out = append(out, t)
			}
		}
	}
	return out
}

// carriage is what a path runs over.
type carriage uint8

const (
	overNothing carriage = iota
	overTCP
	overUDP
)

// claim is asked by the offerer before it nominates: once one transport was nominated the other one is not. UDP waits until
// TCP had its head start, or the other way round.
func (a *Attempt) claim(t carriage) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t != a.ep.cfg.head() && !a.nextOpen {
		return false
	}
	if a.claimed == overNothing {
		a.claimed = t
		a.wakeUp()
	}
	return a.claimed == t
}

// udpRoute says which way a pair goes.
func (a *Attempt) udpRoute(p *Pair) Route {
	k := keyOf(p.way)
	a.udp.mu.Lock()
	leg := a.udp.legs[k]
	typ, far := leg.typ, leg.far(k)
	a.udp.mu.Unlock()
	if far {
		r := Route{Kind: Relayed, Via: "relay/udp", Local: p.local(), Remote: p.way.to, Relay: p.way.to, Reason: a.whyRelayed()}
		if p.way.lent != nil {
			r.Relay = p.way.lent.Relayed()
		}
		return r
	}
	r := Route{Kind: Direct, Via: typ.String() + "/udp", Local: p.local(), Remote: p.way.to}
	r.Reason = a.whyDirect(r.Local.Addr(), r.Remote.Addr())
	if r.Reason == reason.PunchedTCP { // a router that leads a TCP port leads the one of UDP as well, as far as the offers tell
		r.Reason = reason.PunchedUDP
	}
	return r
}

// udpTries describes what became of UDP. won is the pair that was chosen; nil: none.
func (a *Attempt) udpTries(won *Pair) []Try {
	if a.udp == nil {
		return nil
	}
	a.udp.mu.Lock()
	defer a.udp.mu.Unlock()
	var out []Try
	for k, l := range a.udp.legs {
		chosen := won != nil && keyOf(won.way) == k
		if !l.offered && !chosen {
			continue
		}
		t := Try{Addr: k.addr, Type: l.typ, UDP: true, Relayed: l.far(k), Dials: l.checks, State: "no answer"}
		if l.way.lent != nil {
			t.Local = l.way.lent.Relayed() // the way from there, beside the one from our own socket
		}
		if l.checks > 0 {
			t.After = l.changed.Sub(a.began)
		}
		switch {
		case chosen:
			t.State, t.Local, t.After = "chosen", won.local(), time.Since(a.began)
		case l.heard:
			t.State = "checked, not chosen"
		case l.checks == 0:
			t.State = "not tried"
		}
		if t.Relayed {
			t.Type = TypeRelay
		}
		out = append(out, t)
	}
	slices.SortFunc(out, func(x, y Try) int { return cmp.Or(x.Addr.Compare(y.Addr), cmp.Compare(x.State, y.State)) })
	return out
}
