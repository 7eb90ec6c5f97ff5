package conformance

import (
	"net/netip"
	"time"

	"traverse.internal/core/stun"
)

var permissionChecks = []check{
	{number: 65, ref: "RFC 8656 §9", over: onUDP, run: permissionEnds, must: "a permission lasts 300 s from the last CreatePermission or ChannelBind"},
	{number: 66, ref: "RFC 8656 §10.2", over: onBoth, run: noPeer, must: "CreatePermission without XOR-PEER-ADDRESS, or with a malformed one: 400 with ERROR-CODE"},
	{number: 67, ref: "RFC 8656 §10.2", over: onBoth, run: permitOtherFamily, must: "CreatePermission for a peer of another family: 443"},
	{number: 68, ref: "RFC 8656 §10.2", over: onBoth, run: permitForbidden, must: "CreatePermission for a forbidden peer: 403"},
	{number: 69, ref: "RFC 8656 §10.2", over: onBoth, run: permitAtomic, must: "CreatePermission for several peers permits all or none"},
	{number: 70, ref: "RFC 8656 §9", over: onBoth, run: permitAnyPort, must: "a permission is for an address, whatever the port"},
	{number: 71, ref: "RFC 8656 §9", over: onUDP, run: dataRefreshesNothing, must: "Send and ChannelData do not refresh a permission"},
	{number: 72, ref: "RFC 8656 §11.3", over: onBoth, run: strangersDropped, must: "what comes from a peer without permission is dropped"},
	{number: 73, ref: "RFC 8656 §10.2", over: onUDP, run: permitTooMany, alone: true, must: "more permissions than the server can hold: 508"},
	{number: 74, ref: "RFC 8656 §9", over: onBoth, run: permitSeparately, must: "permissions of two allocations have nothing to do with each other"},
}

// otherFamily is some peer that the relayed address cannot reach.
func otherFamily(relayed netip.AddrPort) netip.AddrPort {
	if relayed.Addr().Is4() {
		return netip.MustParseAddrPort("[2001:4860:4860::8888]:9")
	}
	return netip.MustParseAddrPort("8.8.8.8:9")
}

// forbidden are addresses that nobody should relay to. Whichever a server allows, it forbids one of them.
func forbidden(relayed netip.AddrPort) []netip.AddrPort {
	if relayed.Addr().Is4() {
		return []netip.AddrPort{
			netip.MustParseAddrPort("0.0.0.0:9"), netip.MustParseAddrPort("255.255.255.255:9"),
			netip.MustParseAddrPort("224.0.0.1:9"), netip.MustParseAddrPort("169.254.169.254:80"),
		}
	}
	return []netip.AddrPort{
		netip.MustParseAddrPort("[::]:9"), netip.MustParseAddrPort("[ff02::1]:9"),
		netip.MustParseAddrPort("[fd00:ec2::254]:80"), netip.MustParseAddrPort("[fe80::1]:9"),
	}
}

func permissionEnds(p *probe) {
	p.long(610 * time.Second)
	c := p.dial()
	relayed := c.allocate()
	a, b := p.peerFor(relayed), p.peerFor(relayed)
	c.permit(a.addr)
	p.want("Refresh", c.ask(stun.MethodRefresh, withLifetime(1200)), success)
	p.sleep(295 * time.Second)
	a.send(relayed, []byte("in time"))
	c.fromPeer("after 295 s")
	begin := time.Now()
	c.permit(b.addr) // the same address
	p.sleep(time.Until(begin.Add(298 * time.Second)))
	a.send(relayed, []byte("renewed"))
	c.fromPeer("298 s after the second CreatePermission")
	p.sleep(time.Until(begin.Add(302 * time.Second)))
	a.send(relayed, []byte("late"))
	c.silent("302 s after the last CreatePermission")
}

func noPeer(p *probe) {
	c := p.dial()
	c.allocate()
	for what, attrs := range map[string][]attr{
		"no XOR-PEER-ADDRESS":           nil,
		"XOR-PEER-ADDRESS of no family": {brokenPeer},
		"XOR-PEER-ADDRESS cut short":    {with(stun.AttrXORPeerAddress, 0, 1, 0, 9)},
		"an empty XOR-PEER-ADDRESS":     {with(stun.AttrXORPeerAddress)},
	} {
		p.want(what, c.ask(stun.MethodCreatePermission, attrs...), stun.CodeBadRequest)
	}
}

func permitOtherFamily(p *probe) {
	c := p.dial()
	r := c.ask(stun.MethodCreatePermission, withPeer(otherFamily(c.allocate())))
	p.want("CreatePermission for another family", r, stun.CodePeerFamilyMismatch)
}

func permitForbidden(p *probe) {
	c := p.dial()
	refused := false
	for _, peer := range forbidden(c.allocate()) {
		r := c.ask(stun.MethodCreatePermission, withPeer(peer))
		p.want("CreatePermission for "+peer.Addr().String(), r, stun.CodeForbidden, success)
		refused = refused || !r.ok()
	}
	if !refused {
		p.failf("expected one of 'this network', broadcast, multicast and metadata forbidden, got all permitted")
	}
}

func permitAtomic(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	peer := p.peerFor(relayed)
	for _, bad := range []struct {
		what string
		attr attr
	}{
		{"a malformed one", brokenPeer},
		{"one of another family", withPeer(otherFamily(relayed))},
	} {
		r := c.ask(stun.MethodCreatePermission, withPeer(peer.addr), bad.attr)
		p.want("CreatePermission for a peer and "+bad.what, r, stun.CodeBadRequest, stun.CodePeerFamilyMismatch, stun.CodeForbidden)
		c.toPeer(peer.addr, []byte("half"))
		peer.send(relayed, []byte("half"))
		c.silent("a datagram of the peer named with " + bad.what)
		peer.nothing("behind a peer and " + bad.what)
	}
}

func permitAnyPort(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	named, other := p.peerFor(relayed), p.peerFor(relayed)
	c.permit(netip.AddrPortFrom(named.addr.Addr(), 1))
	for _, peer := range []*udpPeer{named, other} {
		peer.send(relayed, []byte("hello"))
		if _, from := c.fromPeer("from a port that was not named"); from != peer.addr {
			p.failf("from a port that was not named: expected %v, got %v", peer.addr, from)
		}
		c.toPeer(peer.addr, []byte("back"))
		peer.expect("to a port that was not named", []byte("back"))
	}
}

func dataRefreshesNothing(p *probe) {
	p.long(305 * time.Second)
	c := p.dial()
	relayed := c.allocate()
	peer := p.peerFor(relayed)
	c.bind(0x4000, peer.addr)
	begin := time.Now()
	for time.Since(begin) < 290*time.Second {
		c.toPeer(peer.addr, []byte("still here"))
		c.onChannel(0x4000, []byte("still here"))
		p.sleep(10 * time.Second)
	}
	p.sleep(time.Until(begin.Add(303 * time.Second)))
	for _, _, more := peer.recv(quiet); more; _, _, more = peer.recv(quiet) {
	}
	c.toPeer(peer.addr, []byte("late"))
	c.onChannel(0x4000, []byte("late"))
	peer.nothing("303 s after the ChannelBind, with data all the while")
}

func strangersDropped(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	peer := p.peerFor(relayed)
	peer.send(relayed, []byte("uninvited"))
	p.sleep(quiet / 4) // it takes another way than what comes next
	c.silent("a datagram of a peer without permission")
}

func permitTooMany(p *probe) {
	if !p.server.Addr().Is4() || !p.server.Addr().IsLoopback() {
		p.skipf("only a server on IPv4 loopback has enough peers")
	}
	c := p.dial()
	c.allocateWith(udpRelay)
	const most, each = 4096, 16
	ip := netip.MustParseAddr("127.1.0.1")
	for n := 0; n < most; n += each {
		var attrs []attr
		for range each {
			attrs = append(attrs, withPeer(netip.AddrPortFrom(ip, 9)))
			ip = ip.Next()
		}
		r := c.ask(stun.MethodCreatePermission, attrs...)
		if r.ok() {
			continue
		}
		if n == 0 && r.code == stun.CodeForbidden {
			p.skipf("the server forbids peers on loopback")
		}
		p.want("CreatePermission behind "+itoa(n)+" permissions", r, stun.CodeInsufficientCapacity)
		return
	}
	p.skipf("%d permissions were granted", most)
}

func permitSeparately(p *probe) {
	a, b := p.dial(), p.dial()
	ra, rb := a.allocate(), b.allocate()
	peer := p.peerFor(ra)
	a.permit(peer.addr)
	peer.send(rb, []byte("uninvited"))
	p.sleep(quiet / 4)
	b.silent("a datagram of a peer that only the other allocation permits")
	b.toPeer(peer.addr, []byte("not permitted"))
	b.silent("Send")
	a.toPeer(peer.addr, []byte("permitted"))
	peer.expect("of two allocations", []byte("permitted"))
}
