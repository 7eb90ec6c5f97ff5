package ice

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	pionice "github.com/pion/ice/v2"
)

// Negotiate finds a path to the device that remote describes and hands it over. It ends with a path, with a *NoPathError,
// or when the attempt is closed; whatever the end, the attempt is over then. ctx limits it, and Config.NegotiateTimeout.
//
// On success the answerer writes to Path.Conn first. The offerer gets its Path when the first byte of that has come.
func (a *Attempt) Negotiate(ctx context.Context, role Role, remote Offer) (*Path, error) {
	ctx, cancel := context.WithTimeout(ctx, a.ep.cfg.NegotiateTimeout)
	defer cancel()
	p, err := a.negotiate(ctx, role, remote)
	switch {
	case errors.Is(err, ErrNegotiated):
		return nil, err
	case err != nil:
		a.suspectRelays()
		a.finish(nil)
	}
	a.count(p)
	return p, err
}

// count counts how a negotiation ended; p is nil without a path. A punch is counted for the transport that won, and where none did for each that was tried.
func (a *Attempt) count(p *Path) {
	st := &a.ep.stats
	all, punch := &st.direct, &st.punched
	tcp, udp := a.triedDirect()
	switch {
	case p == nil:
		all, punch = &st.failed, &st.punchFailed
	case p.Route.Kind == Relayed:
		all, punch = &st.relayed, &st.punchRelayed
	default:
		tcp, udp = p.Pair == nil, p.Pair != nil
	}
	all.Add(1)
	if !a.punches() {
		return
	}
	if tcp {
		punch[0].Add(1)
	}
	if udp {
		punch[1].Add(1)
	}
}

// triedDirect reports over which transports a direct path was tried; what goes through a relay of either side is none.
func (a *Attempt) triedDirect() (tcp, udp bool) {
	a.mu.Lock()
	for _, l := range a.legs {
		tcp = tcp || !l.relayed && l.tries > 0
	}
	a.mu.Unlock()
	return tcp, a.udp != nil && a.udp.triedDirect()
}

func (a *Attempt) negotiate(ctx context.Context, role Role, remote Offer) (*Path, error) {
	if err := a.begin(&remote); err != nil {
		return nil, err
	}
	agent, err := newAgent(a)
	if err != nil {
		return nil, err
	}
	defer agent.GracefulClose()
	ways := a.addLegs(agent, &remote)
	if n := a.udpWays(&remote); n > 0 && a.udp.start(role, &remote) == nil {
		ways += n
		a.mu.Lock()
		a.udpTried = true
		a.mu.Unlock()
	}
	if ways == 0 && len(a.lent)+len(a.lentUDP) == 0 && (len(a.hosts) == 0 || a.rules() == RelayOnly || !a.ep.cfg.uses(TypePrflx, true)) {
		return nil, a.noPath(errNoWay)
	}
	a.start(ctx, agent, role, remote)
	s, err := a.wait(ctx, agent, role)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return a.handOverPair(agent, role), nil
	}
	return a.handOver(agent, s, role)
}

// begin claims the attempt and settles the policy.
func (a *Attempt) begin(remote *Offer) error {
	remote.trim()
	policy, err := agree(a.wants, remote.Policy)
	a.mu.Lock()
	stage := a.stage
	if stage == gathered {
		a.stage, a.policy, a.remote = negotiating, policy, *remote
		if err != nil {
			a.policy = a.wants // nobody's rules
		}
	}
	var drop []*stream
	for s := range a.streams {
		if policy == RelayOnly && !s.relay.IsValid() {
			drop = append(drop, s)
		}
	}
	a.mu.Unlock()
	for _, s := range drop {
		s.conn.Close()
	}
	switch {
	case stage == negotiating:
		return ErrNegotiated
	case stage == over:
		return ErrClosed
	case err != nil:
		return a.noPath(err)
	}
	return nil
}

func (a *Attempt) rules() Policy {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.policy
}

// addLegs lists the addresses to dial, tells the agent of them, and returns how many there are.
func (a *Attempt) addLegs(agent *pionice.Agent, remote *Offer) int {
	legs := a.targets(remote)
	a.mu.Lock()
	for i, l := range legs {
		if known := a.legs[l.addr]; known != nil { // the peer was faster and dialled us from there
			known.typ, known.relayed, known.priority = l.typ, l.relayed, l.priority
			legs[i] = known
			continue
		}
		a.legs[l.addr] = l
	}
	a.mu.Unlock()
	for _, l := range legs {
		_ = addRemote(agent, l.addr, l.priority) // only an address could be wrong, and those were checked
	}
	return len(legs)
}

// targets returns what the policy lets us dial, in the order of the offer.
func (a *Attempt) targets(remote *Offer) []*leg {
	policy := a.rules()
	var legs []*leg
	add := func(l leg) {
		mine := slices.Contains(a.hosts, l.addr)
		loop := l.addr.Addr().IsLoopback() && !a.ep.cfg.Loopback
		link := l.addr.Addr().IsLinkLocalUnicast() // nobody offers them (best), and 169.254.169.254 hands out a cloud's secrets
		service := a.isService(&l)
		far := !l.relayed && !a.ep.dialsTo(l.addr.Addr())
		if !mine && !loop && !link && !service && !far && !slices.ContainsFunc(legs, func(k *leg) bool { return k.addr == l.addr }) {
			legs = append(legs, &l)
		}
	}
	if policy != RelayOnly {
		for _, c := range remote.Candidates {
			if c.TCP && c.Component == 1 && c.Type != TypeRelay && a.ep.cfg.uses(c.Type, true) {
				add(leg{addr: c.Addr, typ: c.Type, priority: max(1, c.Priority)})
			}
		}
	}
	if policy != DirectOnly && a.ep.cfg.uses(TypeRelay, true) {
		for i, r := range remote.relayed() {
			add(leg{addr: r, typ: TypeRelay, relayed: true, priority: priority(TypeRelay, i)})
		}
	}
	return legs
}

// isService reports whether an address that a peer offers for itself is rather one of our machine's or our network's
// services, which nobody shall have us talk to: what is at our own addresses, unless devices on one machine are wanted, and
// the well-known ports of private addresses and of the NAT's own. A relay may be on this machine, but lends no such port.
func (a *Attempt) isService(l *leg) bool {
	at := l.addr
	switch {
	case a.ep.cfg.Loopback:
		return false
	case l.relayed:
		return at.Port() < firstUnreserved
	case a.isHost(at.Addr()):
		return true
	}
	outside := slices.ContainsFunc(a.mappings(), func(m netip.AddrPort) bool { return m.Addr() == at.Addr() })
	return at.Port() < firstUnreserved && (outside || !public(at.Addr()))
}

// firstUnreserved is the first port that is not a system's own (RFC 6335 §6).
const firstUnreserved = 1024

// start sets everything going: the agent, the dialers, the permissions, and the clock of the relays.
func (a *Attempt) start(ctx context.Context, agent *pionice.Agent, role Role, remote Offer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stage == over {
		return
	}
	a.wg.Add(2)
	go a.runAgent(agent, role, remote)
	go a.openGate(ctx)
	if !a.permitted {
		a.wg.Add(1)
		go a.permitPeer(ctx, remote)
	}
	for _, l := range a.legs {
		if l.priority > 0 {
			a.wg.Add(1)
			a.loops++
			go a.dialLoop(l)
			if l.relayed && len(a.lent) > 0 {
				a.wg.Add(1)
				a.loops++
				go a.connectLoop(l)
			}
		}
	}
}

// runAgent lets the agent check until it is closed or the attempt over. What it decides comes by the callbacks.
func (a *Attempt) runAgent(agent *pionice.Agent, role Role, remote Offer) {
	defer a.wg.Done()
	connect := agent.Dial
	if role == Answerer {
		connect = agent.Accept
	}
	_, _ = connect(a.ctx, remote.Ufrag, remote.Password)
}

func (a *Attempt) permitPeer(ctx context.Context, remote Offer) {
	defer a.wg.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	unhook := context.AfterFunc(a.ctx, cancel)
	defer unhook()
	_ = a.Permit(ctx, remote) // the policies were found to agree
}

// openGate lets relayed paths start: at once if there is no other, else when the direct ones had their head start.
func (a *Attempt) openGate(ctx context.Context) {
	defer a.wg.Done()
	if a.rules() != RelayOnly && a.mayBeDirect() {
		cfg := &a.ep.cfg
		if !sleep(a.ctx, cfg.RelayAfter) {
			return
		}
		first, next := a.directUp, a.udpUp
		if cfg.UDPFirst {
			first, next = next, first
		}
		if first() && !sleep(a.ctx, cfg.RelayHold-cfg.RelayAfter) {
			return
		}
		a.openNext()
		// What was checked is nominated within a moment. It goes before a relay.
		if next() && !sleep(a.ctx, cfg.RelayHold) {
			return
		}
	}
	if ctx.Err() == nil {
		if a.ep.cfg.UDPFirst {
			a.openNext() // TCP through relays goes before UDP through them
		}
		close(a.gate)
		a.openLast()
	}
}

// openNext ends the head start that one transport has over the other.
func (a *Attempt) openNext() {
	a.mu.Lock()
	a.nextOpen = true
	a.mu.Unlock()
}

// udpUp reports whether the peer has shown itself over UDP without a relay.
func (a *Attempt) udpUp() bool {
	a.mu.Lock()
	tried := a.udpTried
	a.mu.Unlock()
	return tried && a.udp.alive()
}

// mayBeDirect reports whether there is a direct way in either direction.
func (a *Attempt) mayBeDirect() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.legs {
		if !l.relayed {
			return true
		}
	}
	return len(a.hosts) > 0
}

// directUp reports whether a direct connection is up on which the peer has shown itself.
func (a *Attempt) directUp() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for s := range a.streams {
		if !s.relay.IsValid() && s.state().heard {
			return true
		}
	}
	return false
}

// wait returns the connection that both sides agree on, with nothing of ours left to be written on it; nil for the UDP pair.
func (a *Attempt) wait(ctx context.Context, agent *pionice.Agent, role Role) (*stream, error) {
	var silent, last <-chan time.Time
	late := false
	if role == Offerer {
		t := time.NewTimer(a.lastCall())
		defer t.Stop()
		last = t.C
	}
	for {
		s, err := a.chosen(agent, role)
		if err != nil {
			return nil, a.noPath(err)
		}
		if s != nil {
			return s, nil
		}
		if a.udp != nil {
			if a.udp.chosen() {
				return nil, nil
			}
		}
		if late && a.exhausted() {
			return nil, a.noPath(errNothing)
		}
		if silent == nil && a.nominatedTCP() {
			t := time.NewTimer(chosenSilence)
			defer t.Stop()
			silent = t.C
		}
		select {
		case <-a.wake:
		case <-silent:
			return nil, a.noPath(errSilent)
		case <-last:
			late = true
		case <-ctx.Done():
			return nil, a.noPath(timedOut(ctx.Err()))
		case <-a.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// chosenSilence is how long the offerer waits for the first byte of TLS on the connection that it nominated, a round trip after that: a path that swallows
// large packets carries checks, and no greeting.
const chosenSilence = 3 * time.Second

// nominatedTCP reports whether this side nominated a connection.
func (a *Attempt) nominatedTCP() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.claimed == overTCP
}

// chosen returns the chosen connection as soon as there is one that can be handed over.
func (a *Attempt) chosen(agent *pionice.Agent, role Role) (*stream, error) {
	if role == Offerer {
		return a.spokenOn()
	}
	s, err := a.nominated()
	if s == nil {
		return nil, err
	}
	// The agent announced the pair from inside the task that answers the nomination. Asking it anything waits for that task.
	if _, err := agent.GetRemoteCandidates(); err != nil {
		return nil, err
	}
	if x := s.state(); !x.idle() {
		return nil, nil // an answer to us is still on its way; its arrival wakes us
	}
	s.detach()
	return s, nil
}

// spokenOn returns the connection that we nominated and the answerer began TLS on. Our agent may not know yet that it won.
func (a *Attempt) spokenOn() (*stream, error) {
	a.mu.Lock()
	s, broken := a.spoken, a.broken
	a.mu.Unlock()
	switch {
	case s != nil:
		s.detach()
		return s, nil
	case broken != nil:
		// The agent nominates once. The peer may have chosen this connection as well and be gone from the others.
		return nil, errors.Join(errBroke, broken.err)
	}
	return nil, nil
}

// nominated returns the connection that the offerer nominated and our agent agreed to.
func (a *Attempt) nominated() (*stream, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.selected.IsValid() {
		return nil, nil
	}
	if l := a.legs[a.selected]; l != nil && l.stream != nil {
		return l.stream, nil
	}
	return nil, errBroke
}

// handOverPair ends everything but the UDP pair.
func (a *Attempt) handOverPair(agent *pionice.Agent, role Role) *Path {
	_ = agent.GracefulClose()
	pair := a.udp.keep()
	p := &Path{Pair: pair, Role: role, Route: a.udpRoute(pair), done: make(chan struct{})}
	if l := pair.way.lent; l != nil {
		p.lent, p.giveBack = l, func() { a.ep.giveBackUDP(l) }
	}
	a.finishWith(nil, pair)
	return p
}

// handOver takes the connection away from the checks and ends everything else.
func (a *Attempt) handOver(agent *pionice.Agent, s *stream, role Role) (*Path, error) {
	_ = agent.GracefulClose() // before the reader is stopped: it may be waiting for the agent
	conn, head, err := s.release()
	if err == nil && role == Answerer && len(head) > 0 {
		err = errFrames
	}
	if err != nil {
		s.conn.Close()
		return nil, a.noPath(errors.Join(errBroke, err))
	}
	p := &Path{Conn: conn, Head: head, Role: role, Route: a.route(s), done: make(chan struct{})}
	if l := s.lent; l != nil {
		p.lent, p.giveBack = l, func() { a.ep.giveBack(l) }
	}
	a.finish(s)
	return p, nil
}
