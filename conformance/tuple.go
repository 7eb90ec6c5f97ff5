package conformance

import (
	"bytes"
	"net/netip"
	"time"

	"traverse.internal/core/stun"
)

var tupleChecks = []check{
	{number: 31, ref: "RFC 8656 §5, §11.2, §12.6", over: onBoth, run: withoutAllocation, must: "without an allocation: requests get 437 once they are authenticated, Send and ChannelData silence"},
	{number: 32, ref: "RFC 8656 §7.2", over: onBoth, run: allocateTwice, must: "a second Allocate on a 5-tuple: 437"},
	{number: 33, ref: "RFC 8656 §7.2", over: onUDP, run: retransmitted, must: "a retransmitted Allocate gets the same answer and no second allocation"},
	{number: 34, ref: "RFC 8656 §7.2", over: onUDP, run: retransmittedFailure, must: "a retransmitted Allocate that failed fails again and leaves nothing behind"},
	{number: 35, ref: "RFC 8656 §8.2", over: onUDP, run: retransmittedEnd, must: "a retransmitted Refresh of 0: 437"},
	{number: 36, ref: "RFC 8656 §3.2", over: onUDP, run: transportsDiffer, must: "the same address and port over UDP and over TCP are two 5-tuples"},
	{number: 37, ref: "RFC 8656 §4, RFC 6062 §5.5", over: onTCP, run: closedIsEnded, must: "an allocation ends with its TCP connection"},
}

func withoutAllocation(p *probe) {
	c := p.dial()
	ip := p.peerIP(stun.FamilyOf(p.server.Addr()))
	peer := netip.AddrPortFrom(ip, 9)
	requests := map[stun.Method][]attr{
		stun.MethodRefresh:          nil,
		stun.MethodCreatePermission: {withPeer(peer)},
		stun.MethodChannelBind:      {withPeer(peer), withChannel(0x4000)},
	}
	if p.tcp {
		requests[stun.MethodConnect] = []attr{withPeer(peer)}
	}
	for m, attrs := range requests {
		what := m.String() + " without an allocation"
		p.want(what+" and credentials", c.exchange(build(m.Request(), attrs...)), stun.CodeUnauthenticated)
		r := c.ask(m, attrs...)
		if m == stun.MethodConnect && r.came && r.code == stun.CodeBadRequest && !p.hasTCPRelays() {
			continue // a method that the server does not know
		}
		p.want(what, r, stun.CodeAllocationMismatch)
	}
	c.silent("Send without an allocation", build(stun.MethodSend.Indication(), withPeer(peer), withData([]byte("x"))))
	c.silent("ChannelData without an allocation", channelData(0x4000, []byte("four")))
}

// noTCPRelays says whether an Allocate of TCP over TCP was answered as servers do that make none: 442, and pion 400.
func (r reply) noTCPRelays() bool {
	return r.came && (r.code == stun.CodeUnsupportedTransport || r.code == stun.CodeBadRequest)
}

// hasTCPRelays says whether the server makes TCP allocations.
func (p *probe) hasTCPRelays() bool {
	r := p.dialTCP().ask(stun.MethodAllocate, tcpRelay)
	return !r.noTCPRelays()
}

func allocateTwice(p *probe) {
	c := p.dial()
	c.allocate()
	p.want("a second Allocate", c.ask(stun.MethodAllocate, udpRelay), stun.CodeAllocationMismatch)
	p.want("Refresh of the first", c.ask(stun.MethodRefresh), success)
}

func retransmitted(p *probe) {
	c := p.dial()
	raw := c.signed(stun.MethodAllocate, udpRelay, evenPair)
	first := c.exchange(raw)
	if first.came && first.code == stun.CodeInsufficientCapacity {
		raw = c.signed(stun.MethodAllocate, udpRelay)
		first = c.exchange(raw)
	}
	c.allocated = first.ok()
	p.want("Allocate", first, success)
	again := c.exchange(raw)
	p.want("the same again", again, success)
	if a, b := c.relayed(first), c.relayed(again); a != b {
		p.failf("the same again: expected the relayed address %v, got %v", a, b)
	}
	a, _ := first.Attr(stun.AttrReservationToken)
	b, _ := again.Attr(stun.AttrReservationToken)
	if !bytes.Equal(a, b) {
		p.failf("the same again: expected the token %x, got %x", a, b)
	}
	if seconds, err := again.Uint32(stun.AttrLifetime); err != nil || seconds == 0 || seconds > 600 {
		p.failf("the same again: expected a lifetime of at most 600 s, got %d", seconds)
	}
	p.want("Refresh of 0", c.ask(stun.MethodRefresh, withLifetime(0)), success)
	c.allocated = false
	p.want("Refresh afterwards", c.ask(stun.MethodRefresh), stun.CodeAllocationMismatch)
}

func retransmittedFailure(p *probe) {
	c := p.dial()
	raw := c.signed(stun.MethodAllocate, withTransport(1))
	first := c.exchange(raw)
	if !first.came || first.ok() {
		p.failf("Allocate of transport 1: expected an error, got %v", first)
	}
	for range 2 {
		p.want("the same again", c.exchange(raw), first.code)
	}
	p.want("Refresh", c.ask(stun.MethodRefresh), stun.CodeAllocationMismatch)
	c.allocate()
}

func retransmittedEnd(p *probe) {
	c := p.dial()
	c.allocate()
	raw := c.signed(stun.MethodRefresh, withLifetime(0))
	p.want("Refresh of 0", c.exchange(raw), success)
	c.allocated = false
	p.want("the same again", c.exchange(raw), stun.CodeAllocationMismatch)
}

func transportsDiffer(p *probe) {
	p.plain("the same port over TCP")
	if p.config.Secure {
		p.skipf("a matter of UDP and TCP: turn:")
	}
	u := p.dialUDP()
	first := u.allocate()
	t := p.dialFrom(true, u.local())
	if t.local() != u.local() {
		p.skipf("could not use one port over UDP and TCP")
	}
	if second := t.allocate(); first == second {
		p.failf("expected two relayed addresses, got %v twice", first)
	}
	p.want("Refresh over UDP", u.ask(stun.MethodRefresh), success)
	p.want("Refresh over TCP", t.ask(stun.MethodRefresh), success)
}

func closedIsEnded(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	if p.closedSoon(relayed, 0) {
		p.failf("the relayed port is closed while there is an allocation")
	}
	c.drop()
	if !p.closedSoon(relayed, time.Second) {
		p.failf("expected the relayed port closed within a second of the connection, got it open")
	}
}
