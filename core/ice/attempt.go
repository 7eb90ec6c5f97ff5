package ice

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"traverse.internal/core/stun"
)

// Attempt is one try to find a path to one device: an Offer to send, and Negotiate with the peer's. Its credentials, its
// relay allocations and the connections that name it are its own; listeners and port are the Endpoint's. It is used once,
// and Close frees what Negotiate did not hand over. Methods are safe for concurrent use.
type Attempt struct {
	ep              *Endpoint
	ufrag, password string
	wants           Policy           // the endpoint's, or DirectOnly to punch
	detour          bool             // it wants the relay, and does not say so: see GatherDetour
	hosts           []netip.AddrPort // what a peer can dial, best first; written by Gather only
	lent            []*lent          // our relay allocations; written by Gather only, under mu
	lentUDP         []*lentUDP       // the same over UDP, one of a family at most; written by Gather and by Permit before Offer, under mu
	reflections     []*reflection    // how relays see our port; written by Gather only, under mu
	relayErrs       []error          // of those that failed; written by Gather only

	udp               *udpAgent        // nil: TCP only
	udpHosts, udpSeen []netip.AddrPort // candidates; written by Gather only
	udpSilent         bool             // no STUN server answered; written by Gather only

	ctx    context.Context // ends with the attempt
	cancel context.CancelFunc
	wg     sync.WaitGroup // readers, dialers, relay loops

	boxes [2]*mailbox   // IPv4 and IPv6, to and from the agent
	gate  chan struct{} // closed when relayed paths may be used
	wake  chan struct{} // tells Negotiate to look again

	relaySlots chan struct{} // connections through our allocations that have not said whose they are

	began time.Time // set by newAttempt only

	mu        sync.Mutex // guards the fields below
	stage     stage
	remote    Offer  // the peer's, as soon as Negotiate has it
	policy    Policy // ours, and the one that rules as soon as the peer's is known
	legs      map[netip.AddrPort]*leg
	streams   map[*stream]struct{}
	taken     int            // accepted connections that were ever among streams
	selected  netip.AddrPort // the answerer's agent chose the pair with this remote address
	spoken    *stream        // the offerer's nominated connection, after the first TLS byte
	broken    *stream        // the offerer's nominated connection, after it died without one
	permitted bool           // Permit was called
	report    *Report        // as it was at the end; nil before

	fingerprint []byte   // of our DTLS certificate; nil: UDP is not offered
	loops       int      // that dial and connect
	udpTried    bool     // both sides offered it
	nextOpen    bool     // TCP had its head start over UDP; with UDPFirst UDP over TCP
	udpLast     bool     // and TCP through relays had, so that UDP may go through them
	claimed     carriage // that the offerer nominated
}

// stage is how far an attempt is.
type stage uint8

const (
	gathered stage = iota
	negotiating
	over
)

// leg is one address of the peer, with the connection that leads there.
type leg struct {
	addr     netip.AddrPort
	typ      CandidateType // TypePrflx if it was not offered
	relayed  bool          // the peer's relay: dialled from any port, after the gate
	priority uint32
	stream   *stream // nil while there is none
	pending  []byte  // the newest check, to be sent as soon as there is a connection
	tries    int     // dials
	changed  time.Time
	err      error // of the last dial or connection
}

// credentials draws a ufrag of 48 and a password of 144 random bits (RFC 8445 §5.3 wants 24 and 128). The alphabet of
// standard base64 is ice-char's.
func credentials() (ufrag, password string) {
	b := make([]byte, 6+18)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b[:6]), base64.StdEncoding.EncodeToString(b[6:])
}

func newAttempt(e *Endpoint, policy Policy) *Attempt {
	a := &Attempt{
		ep: e, wants: policy, policy: policy, began: time.Now(),
		gate: make(chan struct{}), wake: make(chan struct{}, 1), relaySlots: make(chan struct{}, maxStreams/4),
		legs: make(map[netip.AddrPort]*leg), streams: make(map[*stream]struct{}),
	}
	a.ufrag, a.password = credentials()
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.boxes = [2]*mailbox{newMailbox(a, false), newMailbox(a, true)}
	a.udp = newUDPAgent(a)
	return a
}

// mailbox returns the one of an address' family.
func (a *Attempt) mailbox(addr netip.Addr) *mailbox {
	if addr.Is4() {
		return a.boxes[0]
	}
	return a.boxes[1]
}

// Offer returns what to send to the peer. An answerer calls Permit first: it makes the answer follow the policy that rules.
func (a *Attempt) Offer() Offer {
	a.mu.Lock()
	policy, datagrams := a.policy, a.lentUDP
	a.mu.Unlock()
	o := Offer{Ufrag: a.ufrag, Password: a.password, Policy: a.wants, Capabilities: a.ep.cfg.Capabilities, Network: a.ep.network()}
	if a.detour {
		o.Policy = Auto
	}
	for i, h := range a.hosts {
		if policy == RelayOnly || !a.ep.cfg.uses(TypeHost, true) {
			o.Sources = append(o.Sources, h.Addr())
			continue
		}
		o.Candidates = append(o.Candidates, Candidate{
			Foundation: foundation(TypeHost, h.Addr()), Component: 1, TCP: true, Priority: priority(TypeHost, i),
			Addr: h, Type: TypeHost, TCPType: "passive",
		})
	}
	if policy != RelayOnly {
		for i, m := range a.mappings() {
			o.Candidates = append(o.Candidates, Candidate{
				Foundation: foundation(TypeSrflx, m.Addr()), Component: 1, TCP: true, Priority: priority(TypeSrflx, i),
				Addr: m, Type: TypeSrflx, TCPType: "so",
			})
		}
	}
	if a.fingerprint != nil {
		o.Fingerprint = a.fingerprint
		if policy != RelayOnly {
			o.Candidates = append(o.Candidates, a.udpCandidates()...)
			o.Network.UDPBlocked = a.udpSilent
		}
	}
	if policy == DirectOnly {
		o.trim()
		return o
	}
	var seen []netip.Addr
	for _, l := range a.lent {
		o.Relays = append(o.Relays, l.Relayed())
		if m := l.Mapped().Addr().Unmap(); checkAddr(m) == "" && !a.isHost(m) {
			seen = append(seen, m)
		}
	}
	for i, l := range datagrams {
		if a.fingerprint == nil {
			break
		}
		o.Candidates = append(o.Candidates, Candidate{
			Foundation: foundation(TypeRelay, l.Relayed().Addr()) + "U", Component: 1, Addr: l.Relayed(), Type: TypeRelay,
			Priority: priority(TypeRelay, maxStreams+i),
		})
		if m := l.Mapped().Addr().Unmap(); checkAddr(m) == "" && !a.isHost(m) && !slices.Contains(seen, m) {
			seen = append(seen, m)
		}
	}
	o.Sources = append(seen, o.Sources...)
	o.trim()
	return o
}

func (a *Attempt) isHost(addr netip.Addr) bool {
	return slices.ContainsFunc(a.hosts, func(h netip.AddrPort) bool { return h.Addr() == addr })
}

// RelayErr returns why relays lent nothing, joined, or nil. A relay that has no address of one family is no error as long as
// it lent one of the other.
func (a *Attempt) RelayErr() error { return errors.Join(a.relayErrs...) }

// wakeUp makes Negotiate look at the state again. It never blocks.
func (a *Attempt) wakeUp() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *Attempt) selectedPair(remote netip.AddrPort) {
	a.mu.Lock()
	a.selected = remote
	a.mu.Unlock()
	a.wakeUp()
}

// send is the agent's way out: to the connection with the other end to, or to wait for one.
func (a *Attempt) send(msg []byte, to netip.AddrPort) {
	a.mu.Lock()
	l := a.legs[to]
	if l == nil {
		a.mu.Unlock()
		return // the connection that the address was learnt from is gone
	}
	s := l.stream
	if s == nil && isRequest(msg) {
		l.pending = append(l.pending[:0], msg...)
	}
	a.mu.Unlock()
	if s != nil && (!nominates(msg) || a.claim(overTCP)) {
		s.write(msg)
	}
}

// nominates reports whether a message has USE-CANDIDATE.
func nominates(msg []byte) bool {
	m, err := stun.Parse(msg)
	return err == nil && m.Has(stun.AttrUseCandidate)
}

func isRequest(msg []byte) bool {
	m, err := stun.Parse(msg)
	return err == nil && m.Type().Class == stun.ClassRequest
}

// attach takes a connection into the attempt and starts its reader. first is a frame that was read and checked already, or
// nil. It fails if the attempt is over, full, or has a connection with that peer; the caller closes then.
func (a *Attempt) attach(s *stream, first []byte) error {
	s.done = make(chan struct{})
	a.mu.Lock()
	if err := a.admitLocked(s); err != nil {
		a.mu.Unlock()
		return err
	}
	l := a.legs[s.peer]
	if l == nil {
		l = &leg{addr: s.peer, typ: TypePrflx}
		a.legs[s.peer] = l
	}
	l.stream, l.changed = s, time.Now()
	pending := l.pending
	l.pending = nil
	a.streams[s] = struct{}{}
	if !s.dialled {
		a.taken++
	}
	a.wg.Add(1)
	a.mu.Unlock()
	go s.readLoop(a, first)
	if pending != nil && (!nominates(pending) || a.claim(overTCP)) {
		s.write(pending)
	}
	return nil
}

func (a *Attempt) admitLocked(s *stream) error {
	l := a.legs[s.peer]
	switch {
	case a.stage == over:
		return ErrClosed
	case !s.relay.IsValid() && (a.policy == RelayOnly || !a.ep.cfg.uses(TypePrflx, true)), a.policy == DirectOnly && s.relay.IsValid():
		return errPolicies
	case l != nil && l.stream != nil:
		return errTaken
	case len(a.streams) >= maxStreams || !s.dialled && a.taken >= maxTaken || l == nil && len(a.legs) >= 2*maxStreams:
		return errFull
	}
	return nil
}

// ended is what a reader does last.
func (a *Attempt) ended(s *stream) {
	x := s.state()
	switch {
	case errors.Is(s.err, errGarbage):
		a.ep.stats.garbage.Add(1)
	case errors.Is(s.err, errCrossed):
		a.ep.stats.crossed.Add(1)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if x.over {
		return // being handed over: the connection is somebody else's
	}
	defer a.wakeUp()
	if s.err == nil && x.nominated {
		a.spoken = s // stays among streams: Negotiate takes it
		return
	}
	err := s.err
	if err == nil {
		err = errGarbage // TLS before the nomination
		a.ep.stats.garbage.Add(1)
	}
	if x.nominated {
		a.broken = s
	}
	s.conn.Close()
	delete(a.streams, s)
	if l := a.legs[s.peer]; l != nil && l.stream == s {
		l.stream, l.err, l.changed = nil, err, time.Now()
		if l.priority == 0 {
			delete(a.legs, s.peer) // learnt from this connection
		}
	}
}

// Close ends the attempt, and Negotiate with it. What Negotiate has handed over stays. It waits for the attempt's
// goroutines; the relays are told in the background.
func (a *Attempt) Close() error {
	a.finish(nil)
	return nil
}

// finish ends everything but the connection that won and the allocation that it needs. Only the first call does something.
func (a *Attempt) finish(won *stream) { a.finishWith(won, nil) }

// finishWith is finish, which keeps a pair as well.
func (a *Attempt) finishWith(won *stream, pair *Pair) {
	a.mu.Lock()
	first := a.stage != over
	a.stage = over
	a.mu.Unlock()
	a.cancel()
	if first {
		a.ep.forget(a)
		a.keepReport(won, pair)
		if a.udp != nil && pair == nil {
			a.udp.close(ErrClosed)
		}
		a.mu.Lock()
		for s := range a.streams {
			if s != won {
				s.conn.Close()
			}
		}
		allocations, datagrams, reflections := a.lent, a.lentUDP, a.reflections
		a.mu.Unlock()
		for _, l := range datagrams {
			if pair == nil || l != pair.way.lent {
				a.ep.giveBackUDP(l)
			}
		}
		for _, f := range reflections {
			a.ep.unreflect(f)
		}
		for _, l := range allocations {
			if won == nil || l != won.lent {
				a.ep.giveBack(l)
			}
		}
	}
	a.wg.Wait()
}
