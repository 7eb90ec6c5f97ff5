package conformance

import (
	"net"
	"net/netip"
	"time"

	"traverse.internal/core/stun"
)

var connectChecks = []check{
	{number: 103, ref: "RFC 6062 §5.1", over: onUDP, run: tcpOverUDP, must: "a TCP allocation over UDP: 400"},
	{number: 104, ref: "RFC 6062 §5.1", over: onTCP, run: tcpPlain, must: "a TCP allocation with DONT-FRAGMENT, EVEN-PORT or RESERVATION-TOKEN: 400; no token in success"},
	{number: 105, ref: "RFC 6062 §5.1, §5.3", over: onTCP, run: tcpListens, must: "a peer reaches the relayed port once it is permitted, and is turned away before"},
	{number: 106, ref: "RFC 6062 §5.2", over: onTCP, run: connectCodes, must: "Connect: 400, 403, 443, 446 and 447 where they belong; from the relayed address; and the server lives on"},
	{number: 107, ref: "RFC 6062 §5.2", over: onTCP, run: connectSlow, must: "while a Connect is slow, the control connection answers"},
	{number: 108, ref: "RFC 6062 §5.2", over: onTCP, run: connectionIDs, must: "CONNECTION-IDs are unique and cannot be foretold"},
	{number: 109, ref: "RFC 6062 §5.3", over: onTCP, run: inbound, must: "a permitted peer's connection is told by ConnectionAttempt, others are closed"},
	{number: 110, ref: "RFC 6062 §5.2, §5.3", over: onTCP, run: unbound, must: "without ConnectionBind within 30 s a peer's connection is closed"},
	{number: 114, ref: "RFC 6062 §5", over: onTCP, run: tcpNoDatagrams, must: "on a TCP allocation ChannelBind gets 400 or 403, and indications are dropped"},
}

func tcpOverUDP(p *probe) {
	if p.config.Datagrams { // there may be no streams
		p.want("Allocate of TCP over DTLS", p.dial().ask(stun.MethodAllocate, tcpRelay), stun.CodeBadRequest, stun.CodeUnsupportedTransport)
		return
	}
	p.needTCPRelays()
	p.want("Allocate of TCP over UDP", p.dial().ask(stun.MethodAllocate, tcpRelay), stun.CodeBadRequest)
}

func (p *probe) needTCPRelays() {
	if !p.hasTCPRelays() {
		p.skipf("the server has no TCP allocations")
	}
}

func tcpPlain(p *probe) {
	p.needTCPRelays()
	c := p.dial()
	for what, extra := range map[string]attr{"DONT-FRAGMENT": dontFragment, "EVEN-PORT": evenPort, "RESERVATION-TOKEN": withToken(make([]byte, 8))} {
		p.want("with "+what, c.ask(stun.MethodAllocate, tcpRelay, extra), stun.CodeBadRequest)
	}
	r := c.ask(stun.MethodAllocate, tcpRelay)
	p.want("without", r, success)
	p.lacks("without", r, stun.AttrReservationToken)
	p.has("without", r, stun.AttrXORRelayedAddress, stun.AttrLifetime, stun.AttrXORMappedAddress)
}

func tcpListens(p *probe) {
	c := p.dial()
	relayed := c.allocateTCP()
	if x, err := p.call(relayed); err == nil {
		x.expectEnd("before any permission")
		p.note = "accepted and closed before a permission"
	} else {
		p.note = "refused before a permission"
	}
	c.permit(netip.AddrPortFrom(p.peerIP(stun.FamilyOf(relayed.Addr())), 9))
	x, err := p.call(relayed)
	if err != nil {
		p.failf("after the permission: the peer expected a connection, got %v", err)
	}
	if _, peer := c.attempt(); peer != x.local() {
		p.failf("ConnectionAttempt: expected %v, got %v", x.local(), peer)
	}
}

func connectCodes(p *probe) {
	c := p.dial()
	relayed := c.allocateTCP()
	connect := func(attrs ...attr) reply { return c.ask(stun.MethodConnect, attrs...) }
	p.want("no XOR-PEER-ADDRESS", connect(), stun.CodeBadRequest)
	p.want("a malformed XOR-PEER-ADDRESS", connect(brokenPeer), stun.CodeBadRequest)
	p.want("another family", connect(withPeer(otherFamily(relayed))), stun.CodePeerFamilyMismatch)
	p.want("a forbidden peer", connect(withPeer(forbidden(relayed)[0])), stun.CodeForbidden)
	t := p.tcpPeerFor(relayed)
	c.connect(t)
	x := t.accept()
	if from := addrPort(x.conn.RemoteAddr()); from != relayed {
		p.failf("the peer expected a connection from %v, got one from %v", relayed, from)
	}
	p.want("the same peer again", connect(withPeer(t.addr)), stun.CodeConnectionExists)
	p.want("Refresh afterwards", c.ask(stun.MethodRefresh), success)
	p.want("Binding from elsewhere", p.dial().binding(), success)
	nobody := p.tcpPeerFor(relayed)
	nobody.listener.Close()
	p.want("a closed port", connect(withPeer(nobody.addr)), stun.CodeConnectionFailed)
	p.want("Refresh at last", c.ask(stun.MethodRefresh), success)
}

// silentPeer is a port that answers no SYN: its queue is full.
func (p *probe) silentPeer(relayed netip.AddrPort) *tcpPeer {
	t := p.tcpPeerFor(relayed)
	p.must(shrinkBacklog(t.listener))
	for range 8 {
		conn, err := net.DialTimeout("tcp", t.addr.String(), quiet)
		if err != nil {
			return t
		}
		p.atEnd(func() { conn.Close() })
	}
	p.skipf("could not make a peer that does not answer")
	return nil
}

func connectSlow(p *probe) {
	c := p.dial()
	relayed := c.allocateTCP()
	t := p.silentPeer(relayed)
	c.permit(t.addr)
	pending := c.signed(stun.MethodConnect, withPeer(t.addr))
	p.must(c.send(pending))
	id := stun.TransactionID(pending[8:stun.HeaderLen])
	begin := time.Now()
	p.want("Refresh during a Connect", c.ask(stun.MethodRefresh), success)
	p.want("CreatePermission during a Connect", c.ask(stun.MethodCreatePermission, withPeer(t.addr)), success)
	p.want("the same Connect again", c.ask(stun.MethodConnect, withPeer(t.addr)), stun.CodeConnectionExists)
	if d := time.Since(begin); d > time.Second {
		p.failf("during a Connect: expected answers at once, got them after %v", d)
	}
	for _, f := range c.aside {
		if answers(f, id) {
			p.failf("Connect to a peer that does not answer: expected no answer yet, got %v", replyOf(f))
		}
	}
}

func connectionIDs(p *probe) {
	c := p.dial()
	relayed := c.allocateTCP()
	seen := map[uint32]bool{}
	near, last := 0, uint32(0)
	const tries = 6
	for range tries {
		id := c.connect(p.tcpPeerFor(relayed))
		if seen[id] {
			p.failf("expected unique ids, got 0x%08x twice", id)
		}
		if d := id - last; d < 1<<16 || -d < 1<<16 {
			near++
		}
		seen[id], last = true, id
	}
	if near > 1 { // by chance: 2^-15 each
		p.failf("expected ids that cannot be foretold, got %d neighbours", near)
	}
}

func inbound(p *probe) {
	c := p.dial()
	relayed := c.allocateTCP()
	ip := p.peerIP(stun.FamilyOf(relayed.Addr()))
	c.permit(netip.AddrPortFrom(ip, 9))
	x, err := p.call(relayed)
	if err != nil {
		p.failf("a permitted peer expected a connection, got %v", err)
	}
	id, peer := c.attempt()
	if peer != x.local() {
		p.failf("ConnectionAttempt: expected %v, got %v", x.local(), peer)
	}
	y := c.join(id)
	y.send([]byte("to the peer"))
	x.expect("relayed", []byte("to the peer"))
	x.send([]byte("to the client"))
	y.expect("relayed", []byte("to the client"))
	stranger := p.dial()
	if x, err := p.call(stranger.allocateTCP()); err == nil {
		x.expectEnd("a peer without permission")
	}
}

func unbound(p *probe) {
	p.long(35 * time.Second)
	c := p.dial()
	relayed := c.allocateTCP()
	c.permit(netip.AddrPortFrom(p.peerIP(stun.FamilyOf(relayed.Addr())), 9))
	x, err := p.call(relayed)
	p.must(err)
	t := p.tcpPeerFor(relayed)
	c.connect(t)
	y := t.accept()
	if x.ended(28*time.Second) || y.ended(time.Millisecond) {
		p.failf("expected the connections open for 30 s, got them closed")
	}
	if !x.ended(6*time.Second) || !y.ended(6*time.Second) {
		p.failf("expected the connections closed after 30 s, got them open")
	}
}

func tcpNoDatagrams(p *probe) {
	c := p.dial()
	relayed := c.allocateTCP()
	peer := p.peerFor(relayed)
	c.permit(peer.addr)
	p.want("ChannelBind", c.ask(stun.MethodChannelBind, withChannel(0x4000), withPeer(peer.addr)), stun.CodeBadRequest, stun.CodeForbidden)
	c.toPeer(peer.addr, []byte("by Send"))
	c.silent("Send on a TCP allocation")
	peer.nothing("Send on a TCP allocation")
}
