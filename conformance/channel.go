package conformance

import (
	"net/netip"
	"time"

	"traverse.internal/core/stun"
)

var channelChecks = []check{
	{number: 83, ref: "RFC 8656 §12", over: onBoth, run: channelRange, must: "channel numbers are 0x4000 to 0x4fff, others get 400"},
	{number: 84, ref: "RFC 8656 §12.2", over: onBoth, run: channelIncomplete, must: "ChannelBind without CHANNEL-NUMBER or XOR-PEER-ADDRESS: 400"},
	{number: 85, ref: "RFC 8656 §12.2", over: onBoth, run: channelConflict, must: "a bound number for another peer, or a bound peer for another number: 400, and nothing changes"},
	{number: 86, ref: "RFC 8656 §12.2", over: onBoth, run: channelRefused, must: "ChannelBind to a peer of another family: 443; to a forbidden one: 403"},
	{number: 87, ref: "RFC 8656 §12", over: onUDP, run: channelEnds, must: "a channel lasts 600 s, and binding it again refreshes channel and permission"},
	{number: 88, ref: "RFC 8656 §12", over: onUDP, run: channelReused, must: "after its end a channel's number and peer can be bound anew"},
	{number: 89, ref: "RFC 8656 §12", over: onUDP, run: channelNeedsPermission, must: "a channel works only while its permission does"},
	{number: 90, ref: "RFC 8656 §12.5, §12.6", over: onUDP, run: channelLength, must: "ChannelData longer than the datagram is dropped, padding behind it is ignored"},
	{number: 91, ref: "RFC 8656 §12.6", over: onBoth, run: channelEmpty, must: "ChannelData of no bytes is an empty datagram"},
	{number: 92, ref: "RFC 8656 §12.6", over: onBoth, run: channelUnbound, must: "ChannelData on a number that is not bound is dropped"},
	{number: 93, ref: "RFC 8656 §12, RFC 7983 §7", over: onBoth, run: otherFirstBytes, must: "what begins with 0x50 to 0xff is dropped on UDP and ends a stream"},
	{number: 94, ref: "RFC 8656 §12.2", over: onUDP, run: channelsTooMany, alone: true, must: "more channels than the server can hold: 508"},
}

func channelRange(p *probe) {
	c := p.dial()
	peer := p.peerFor(c.allocate())
	for _, n := range []uint16{0, 0x3fff, 0x5000, 0x7fff, 0x8000, 0xffff} {
		r := c.ask(stun.MethodChannelBind, withChannel(n), withPeer(peer.addr))
		if r.ok() && n >= 0x5000 && n <= 0x7fff {
			p.failf("channel number 0x%s: expected 400 as of RFC 8656, got it bound as of RFC 5766", hex(n))
		}
		p.want("channel number 0x"+hex(n), r, stun.CodeBadRequest)
	}
	c.bind(0x4fff, peer.addr)
}

func hex(n uint16) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[n>>12], digits[n>>8&15], digits[n>>4&15], digits[n&15]})
}

func channelIncomplete(p *probe) {
	c := p.dial()
	peer := p.peerFor(c.allocate())
	p.want("no CHANNEL-NUMBER", c.ask(stun.MethodChannelBind, withPeer(peer.addr)), stun.CodeBadRequest)
	p.want("no XOR-PEER-ADDRESS", c.ask(stun.MethodChannelBind, withChannel(0x4000)), stun.CodeBadRequest)
	p.want("a malformed XOR-PEER-ADDRESS", c.ask(stun.MethodChannelBind, withChannel(0x4000), brokenPeer), stun.CodeBadRequest)
}

func channelConflict(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	a, b := p.peerFor(relayed), p.peerFor(relayed)
	c.bind(0x4000, a.addr)
	p.want("the number for another peer", c.ask(stun.MethodChannelBind, withChannel(0x4000), withPeer(b.addr)), stun.CodeBadRequest)
	p.want("another number for the peer", c.ask(stun.MethodChannelBind, withChannel(0x4001), withPeer(a.addr)), stun.CodeBadRequest)
	c.bind(0x4000, a.addr)
	c.onChannel(0x4001, []byte("on the refused number"))
	c.onChannel(0x4000, []byte("on the bound one"))
	a.expect("after the conflicts", []byte("on the bound one"))
}

func channelRefused(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	p.want("another family", c.ask(stun.MethodChannelBind, withChannel(0x4000), withPeer(otherFamily(relayed))), stun.CodePeerFamilyMismatch)
	refused := false
	for i, peer := range forbidden(relayed) {
		r := c.ask(stun.MethodChannelBind, withChannel(0x4001+uint16(i)), withPeer(peer))
		p.want("ChannelBind to "+peer.Addr().String(), r, stun.CodeForbidden, success)
		refused = refused || !r.ok()
	}
	if !refused {
		p.failf("expected one of 'this network', broadcast, multicast and metadata forbidden, got all bound")
	}
}

func channelEnds(p *probe) {
	p.long(660 * time.Second)
	c := p.dial()
	relayed := c.allocate(withLifetime(1800))
	peer := p.peerFor(relayed)
	c.bind(0x4000, peer.addr)
	p.sleep(100 * time.Second)
	begin := time.Now()
	c.bind(0x4000, peer.addr) // both begin anew
	p.sleep(time.Until(begin.Add(297 * time.Second)))
	c.onChannel(0x4000, []byte("permitted"))
	peer.expect("297 s after binding again", []byte("permitted"))
	c.permit(peer.addr)
	p.sleep(time.Until(begin.Add(590 * time.Second)))
	c.permit(peer.addr)
	c.onChannel(0x4000, []byte("bound"))
	peer.expect("590 s after binding again", []byte("bound"))
}

func channelReused(p *probe) {
	p.long(605 * time.Second)
	c := p.dial()
	relayed := c.allocate(withLifetime(1800))
	a, b := p.peerFor(relayed), p.peerFor(relayed)
	c.bind(0x4000, a.addr)
	p.sleep(603 * time.Second)
	c.bind(0x4000, b.addr)
	c.bind(0x4001, a.addr)
}

func channelNeedsPermission(p *probe) {
	p.long(305 * time.Second)
	c := p.dial()
	relayed := c.allocate(withLifetime(1800))
	peer := p.peerFor(relayed)
	c.bind(0x4000, peer.addr)
	p.sleep(303 * time.Second)
	c.onChannel(0x4000, []byte("late"))
	peer.nothing("303 s after ChannelBind")
	peer.send(relayed, []byte("late"))
	c.silent("a peer's datagram 303 s after ChannelBind")
	c.permit(peer.addr)
	c.onChannel(0x4000, []byte("again"))
	peer.expect("with a new permission", []byte("again"))
}

func channelLength(p *probe) {
	c := p.dial()
	peer := p.peerFor(c.allocate())
	c.bind(0x4000, peer.addr)
	long := channelData(0x4000, []byte("longer than it is"))
	c.silent("ChannelData longer than the datagram", long[:len(long)-5])
	c.silent("half a header", long[:3])
	p.must(c.send(append(channelData(0x4000, []byte("padded")), 0, 0)))
	peer.expect("ChannelData with padding", []byte("padded"))
}

func channelEmpty(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	peer := p.peerFor(relayed)
	c.bind(0x4000, peer.addr)
	c.onChannel(0x4000, nil)
	peer.expect("ChannelData of no bytes", nil)
	peer.send(relayed, nil)
	c.fromChannel("an empty datagram of the peer", 0x4000, nil)
}

func channelUnbound(p *probe) {
	c := p.dial()
	peer := p.peerFor(c.allocate())
	c.bind(0x4000, peer.addr)
	c.onChannel(0x4001, []byte("unbound"))
	c.onChannel(0x4000, []byte("bound"))
	peer.expect("on an unbound number, then on the bound one", []byte("bound"))
}

func otherFirstBytes(p *probe) {
	for _, first := range []byte{0x50, 0x7f, 0x80, 0xff} {
		c := p.dial()
		c.allocate()
		garbage := append([]byte{first, 0}, channelData(0x4000, []byte("sixteen bytes..."))[2:]...)
		if !p.tcp {
			c.silent("a datagram that begins with 0x"+hex(uint16(first)), garbage)
			continue
		}
		p.must(c.send(garbage))
		c.expectEnd("a frame that begins with 0x" + hex(uint16(first)))
	}
}

func channelsTooMany(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	ip := p.peerIP(stun.FamilyOf(relayed.Addr()))
	const (
		most = 1024
		// What the server forbids at most: it may listen on some of these ports itself, and permit the rest.
		mostForbidden = 16
	)
	n, forbidden := uint16(stun.MinChannel), 0
	for port := uint16(36_000); n < stun.MinChannel+most; port++ {
		r := c.ask(stun.MethodChannelBind, withChannel(n), withPeer(netip.AddrPortFrom(ip, port)))
		switch {
		case r.ok():
			n++
		case r.code == stun.CodeForbidden && forbidden < mostForbidden:
			forbidden++
		case r.code == stun.CodeForbidden:
			p.skipf("the server forbids peers at %v", ip)
		default:
			p.want("ChannelBind behind "+itoa(int(n-stun.MinChannel))+" channels", r, stun.CodeInsufficientCapacity)
			return
		}
	}
	p.skipf("%d channels were bound", most)
}
