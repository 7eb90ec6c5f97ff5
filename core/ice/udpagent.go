package ice

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	pionice "github.com/pion/ice/v2"
	"github.com/pion/logging"
	"github.com/pion/transport/v2/stdnet"

	"traverse.internal/core/stun"
)

// Consent of RFC 7675: asked every 5 s, expired after 30 s without an answer.
const (
	consentEvery  = 5 * time.Second
	consentExpiry = 30 * time.Second
)

// udpAgent is ICE over UDP for one attempt, and for the pair that comes of it: its agent goes on answering and asking for
// consent as long as the pair is used. As over TCP the agent has no socket of its own; what it writes goes out here.
type udpAgent struct {
	ports           *udpPorts
	a               *Attempt
	ufrag, password string
	tagIn, tagOut   uint32
	boxes           [4]*udpBox // IPv4, IPv6, and the same through our relay
	in              *datagrams // for who has the pair

	mu       sync.Mutex // guards the fields below
	agent    *pionice.Agent
	peerPass string
	legs     map[udpKey]*udpLeg
	won      udpKey // the chosen pair
	kept     bool   // handed over
	closed   bool
	timer    *time.Timer // of SetReadDeadline
}

// udpLeg is one address of the peer.
type udpLeg struct {
	typ     CandidateType
	offered bool
	checks  int       // that were sent
	changed time.Time // of the last check that was sent
	heard   bool      // a check or an answer came, with the right password
	way     way       // by which the last one came, if one did
}

// maxUDPLegs bounds the addresses that one agent checks or is checked from.
const maxUDPLegs = 64

// newUDPAgent enters an attempt at the UDP sockets. Nil: it will have TCP only.
func newUDPAgent(a *Attempt) *udpAgent {
	p := a.ep.udp
	if p == nil {
		return nil
	}
	u := &udpAgent{
		ports: p, a: a, ufrag: a.ufrag, password: a.password, tagIn: tagOf(a.password),
		legs: make(map[udpKey]*udpLeg), in: newDatagrams(),
	}
	for i := range u.boxes {
		u.boxes[i] = &udpBox{u: u, v6: i%2 == 1, relayed: i >= 2, in: make(chan letter, mailboxLen), closed: make(chan struct{})}
	}
	if !p.add(u) {
		return nil
	}
	return u
}

// start begins the checks towards the peer.
func (u *udpAgent) start(role Role, remote *Offer) error {
	ufrag, password := remote.udpCredentials()
	agent, err := pionice.NewAgent(u.config())
	if err != nil {
		return err
	}
	u.mu.Lock()
	if u.closed {
		u.mu.Unlock()
		_ = agent.Close()
		return ErrClosed
	}
	u.agent, u.peerPass, u.tagOut = agent, password, tagOf(password)
	u.mu.Unlock()
	err = errors.Join(
		agent.OnCandidate(func(pionice.Candidate) {}),
		agent.OnSelectedCandidatePairChange(func(local, remote pionice.Candidate) { u.selected(local, remote) }),
		agent.OnConnectionStateChange(func(s pionice.ConnectionState) {
			if s == pionice.ConnectionStateFailed {
				u.expired()
			}
		}),
		agent.GatherCandidates(),
	)
	if err != nil {
		return err
	}
	for _, c := range u.a.udpTargets(remote) {
		u.mu.Lock()
		for _, k := range c.ways {
			if l := u.legs[k]; l != nil {
				l.typ, l.offered = c.Type, true // the peer was faster
				continue
			}
			u.legs[k] = &udpLeg{typ: c.Type, offered: true}
			if !k.relayed {
				u.ports.expect(u, k.addr)
			}
		}
		u.mu.Unlock()
		r, err := pionice.NewCandidateHost(&pionice.CandidateHostConfig{
			Network: "udp", Address: c.Addr.Addr().String(), Port: int(c.Addr.Port()), Component: 1, Priority: max(1, c.Priority),
		})
		if err == nil {
			_ = agent.AddRemoteCandidate(r)
		}
	}
	u.a.mu.Lock()
	if u.a.stage == over {
		u.a.mu.Unlock()
		return ErrClosed
	}
	u.a.wg.Add(1)
	u.a.mu.Unlock()
	go u.runUDP(agent, role, ufrag, password)
	return nil
}

func (u *udpAgent) config() *pionice.AgentConfig {
	var (
		atOnce   = time.Duration(0)
		interval = checkInterval
		keep     = consentEvery
		failed   = consentExpiry - consentExpiry/2
		patience = uint16(0xffff)
	)
	return &pionice.AgentConfig{
		LocalUfrag: u.ufrag, LocalPwd: u.password,
		NetworkTypes:           []pionice.NetworkType{pionice.NetworkTypeUDP4, pionice.NetworkTypeUDP6},
		CandidateTypes:         []pionice.CandidateType{pionice.CandidateTypeHost},
		UDPMux:                 udpOffice{u},
		Net:                    labelNet{&stdnet.Net{}},
		MulticastDNSMode:       pionice.MulticastDNSModeDisabled,
		KeepaliveInterval:      &keep,
		DisconnectedTimeout:    &failed,
		FailedTimeout:          &failed,
		CheckInterval:          &interval,
		MaxBindingRequests:     &patience,
		HostAcceptanceMinWait:  &atOnce,
		PrflxAcceptanceMinWait: &atOnce,
		LoggerFactory:          &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled},
	}
}

// runUDP lets the agent check until it has a pair or is closed.
func (u *udpAgent) runUDP(agent *pionice.Agent, role Role, ufrag, password string) {
	defer u.a.wg.Done()
	connect := agent.Dial
	if role == Answerer {
		connect = agent.Accept
	}
	_, _ = connect(u.a.ctx, ufrag, password)
}

// selected notes what the agent chose.
func (u *udpAgent) selected(local, remote pionice.Candidate) {
	addr, err := netip.ParseAddr(remote.Address())
	if err != nil {
		return
	}
	u.mu.Lock()
	u.won = udpKey{uint16(local.Port()) == u.ports.relayLabel(), netip.AddrPortFrom(addr.Unmap(), uint16(remote.Port()))}
	u.mu.Unlock()
	u.a.wakeUp()
}

// chosen reports whether there is a chosen pair that can be used.
func (u *udpAgent) chosen() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	l := u.legs[u.won]
	return l != nil && l.way.known() && !u.closed
}

// alive reports whether the peer has shown itself over UDP without a relay.
func (u *udpAgent) alive() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for k, l := range u.legs {
		if l.heard && !l.far(k) {
			return true
		}
	}
	return false
}

func (u *udpAgent) peerPassword() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.peerPass
}

// knows reports whether datagrams that come by a way are the peer's: it has shown the password there. After the hand-over only
// those of the chosen pair are.
func (u *udpAgent) knows(from udpKey) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.kept {
		return from == u.won
	}
	l := u.legs[from]
	return l != nil && l.heard
}

// heard passes a checked message to the agent.
func (u *udpAgent) heard(b []byte, w way) {
	near := u.a.rules() != RelayOnly && u.ports.ep.cfg.uses(TypePrflx, false)
	k := keyOf(w)
	u.mu.Lock()
	l := u.legs[k]
	if !near && !k.relayed && (l == nil || l.typ != TypeRelay) {
		u.mu.Unlock()
		return
	}
	if l == nil {
		if len(u.legs) >= maxUDPLegs || u.closed {
			u.mu.Unlock()
			return
		}
		l = &udpLeg{typ: TypePrflx}
		u.legs[k] = l
		if !k.relayed {
			u.ports.expect(u, w.to)
		}
	}
	first := !l.heard
	l.heard, l.way = true, w
	u.mu.Unlock()
	if first {
		u.a.wakeUp()
	}
	select {
	case u.box(w.to.Addr().Is6(), k.relayed).in <- letter{append([]byte(nil), b...), w.to}:
	default: // it comes again
	}
}

// out sends what the agent wrote: by the way that its peer came, or else by all that may lead there.
func (u *udpAgent) out(b []byte, to udpKey) {
	m, err := stun.Parse(b)
	if err != nil {
		return
	}
	if m.Type().Class == stun.ClassRequest && u.isFar(to) && !u.a.lastOpen() {
		return // too soon; the agent asks again
	}
	if m.Has(stun.AttrUseCandidate) && !u.a.claim(overUDP) {
		return // the agent asks again
	}
	u.mu.Lock()
	l := u.legs[to]
	if l == nil || u.closed {
		u.mu.Unlock()
		return
	}
	l.checks++
	l.changed = time.Now()
	w := l.way
	u.mu.Unlock()
	switch {
	case w.known():
		u.ports.send(b, w)
	case to.relayed:
		if l := u.a.lentOf(to.addr.Addr()); l != nil {
			l.Send(to.addr, b)
		}
	default:
		for _, s := range u.ports.of(to.addr.Addr()) {
			u.ports.send(b, way{sock: s, to: to.addr})
		}
	}
}

// triedDirect reports whether a check was sent that no relay carries.
func (u *udpAgent) triedDirect() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for k, l := range u.legs {
		if l.offered && !l.far(k) && l.checks > 0 {
			return true
		}
	}
	return false
}

// isFar reports whether a way leads through a relay.
func (u *udpAgent) isFar(k udpKey) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	l := u.legs[k]
	return l != nil && l.far(k)
}

// box returns the one of a family, with or without our relay.
func (u *udpAgent) box(v6, relayed bool) *udpBox {
	i := 0
	if v6 {
		i++
	}
	if relayed {
		i += 2
	}
	return u.boxes[i]
}

// relayLabel is the port that stands for our relayed addresses where an agent sees local ones.
func (p *udpPorts) relayLabel() uint16 { return p.ep.port ^ 1 }

// expired ends a pair to which the peer consents no more.
func (u *udpAgent) expired() {
	u.mu.Lock()
	kept := u.kept
	u.mu.Unlock()
	if kept {
		u.in.fail(errConsent)
	}
}

// close ends the agent and takes the attempt's names off the sockets. It does not wait for the agent.
func (u *udpAgent) close(err error) {
	u.mu.Lock()
	if u.closed {
		u.mu.Unlock()
		return
	}
	u.closed = true
	agent := u.agent
	addrs := make([]netip.AddrPort, 0, len(u.legs))
	for k := range u.legs {
		if !k.relayed {
			addrs = append(addrs, k.addr)
		}
	}
	if u.timer != nil {
		u.timer.Stop()
	}
	u.mu.Unlock()
	u.ports.remove(u, addrs)
	u.in.fail(err)
	if agent != nil {
		_ = agent.Close()
	}
}

var (
	errConsent = errors.New("ice: the peer answers no checks on this path any more")
	errTimeout = timeoutError{}
)

type timeoutError struct{}

func (timeoutError) Error() string   { return "ice: i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// udpOffice gives the agent the box of a family.
type udpOffice struct{ u *udpAgent }

func (o udpOffice) GetConn(_ string, addr net.Addr) (net.PacketConn, error) {
	at, ok := addr.(*net.UDPAddr)
	return o.u.box(ok && at.IP.To4() == nil, ok && uint16(at.Port) == o.u.ports.relayLabel()), nil
}

func (o udpOffice) GetListenAddresses() []net.Addr {
	all := []net.Addr{o.u.boxes[0].LocalAddr(), o.u.boxes[1].LocalAddr()}
	for i, label := range labels {
		if o.u.a.lentOf(label) != nil {
			all = append(all, o.u.boxes[2+i].LocalAddr())
		}
	}
	return all
}

func (udpOffice) RemoveConnByUfrag(string) {}
func (udpOffice) Close() error             { return nil }

// udpBox is the net.PacketConn that the agent gets for one family.
type udpBox struct {
	u       *udpAgent
	v6      bool
	relayed bool
	in      chan letter
	once    sync.Once
	closed  chan struct{}
}

func (p *udpBox) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case l := <-p.in:
		return copy(b, l.frame), net.UDPAddrFromAddrPort(l.from), nil
	case <-p.closed:
		return 0, nil, net.ErrClosed
	}
}

func (p *udpBox) WriteTo(b []byte, to net.Addr) (int, error) {
	if at, ok := to.(*net.UDPAddr); ok {
		a := at.AddrPort()
		p.u.out(b, udpKey{p.relayed, netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())})
	}
	return len(b), nil
}

func (p *udpBox) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *udpBox) LocalAddr() net.Addr {
	label := labels[0]
	if p.v6 {
		label = labels[1]
	}
	port := p.u.ports.ep.port
	if p.relayed {
		port = p.u.ports.relayLabel()
	}
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(label, port))
}

func (p *udpBox) SetDeadline(time.Time) error      { return nil }
func (p *udpBox) SetReadDeadline(time.Time) error  { return nil }
func (p *udpBox) SetWriteDeadline(time.Time) error { return nil }
