package conformance

import (
	"net/netip"

	"traverse.internal/core/stun"
)

var familyChecks = []check{
	{number: 44, ref: "RFC 8656 §7.2", over: onBoth, run: bothFamilies, must: "REQUESTED- and ADDITIONAL-ADDRESS-FAMILY together: 400"},
	{number: 45, ref: "RFC 8656 §7.2", over: onBoth, run: unknownFamily, must: "a family that there is not: 440"},
	{number: 46, ref: "RFC 8656 §7.2", over: onBoth, run: defaultFamily, must: "without a family: IPv4, or 440 when there is none"},
	{number: 47, ref: "RFC 8656 §7.2", over: onBoth, run: pairAndFamily, must: "EVEN-PORT with R and ADDITIONAL-ADDRESS-FAMILY: 400"},
	{number: 51, ref: "RFC 8656 §7.2", over: onBoth, run: additionalIPv4, must: "ADDITIONAL-ADDRESS-FAMILY of IPv4: 400"},
	{number: 52, ref: "RFC 8656 §7.2", over: onBoth, run: dual, must: "ADDITIONAL-ADDRESS-FAMILY of IPv6: two relayed addresses, or one and ADDRESS-ERROR-CODE"},
}

func bothFamilies(p *probe) {
	r := p.dial().ask(stun.MethodAllocate, udpRelay, withFamily(stun.FamilyIPv4), withAdditional(stun.FamilyIPv6))
	p.want("both families' attributes", r, stun.CodeBadRequest)
}

func unknownFamily(p *probe) {
	c := p.dial()
	for _, f := range []stun.Family{0, 3, 255} {
		p.want("family "+itoa(int(f)), c.ask(stun.MethodAllocate, udpRelay, withFamily(f)), stun.CodeFamilyNotSupported)
	}
}

func defaultFamily(p *probe) {
	c := p.dial()
	r := c.ask(stun.MethodAllocate, udpRelay)
	p.want("Allocate without a family", r, success, stun.CodeFamilyNotSupported)
	if r.ok() && !c.relayed(r).Addr().Is4() {
		p.failf("Allocate without a family: expected IPv4, got %v", c.relayed(r))
	}
}

func pairAndFamily(p *probe) {
	r := p.dial().ask(stun.MethodAllocate, udpRelay, evenPair, withAdditional(stun.FamilyIPv6))
	p.want("EVEN-PORT with R and ADDITIONAL-ADDRESS-FAMILY", r, stun.CodeBadRequest)
}

func additionalIPv4(p *probe) {
	r := p.dial().ask(stun.MethodAllocate, udpRelay, withAdditional(stun.FamilyIPv4))
	p.want("ADDITIONAL-ADDRESS-FAMILY of IPv4", r, stun.CodeBadRequest)
}

// allocateDual asks for both families. Where the server has only one of them, or makes one allocation of it, the rest is
// zero.
func (c *client) allocateDual() (r reply, v4, v6 netip.AddrPort) {
	r = c.ask(stun.MethodAllocate, udpRelay, withAdditional(stun.FamilyIPv6))
	c.p.want("Allocate of both families", r, success)
	all, err := r.AppendXORAddrs(nil, stun.AttrXORRelayedAddress)
	if err != nil || len(all) > 2 {
		c.p.failf("Allocate of both families: expected one or two XOR-RELAYED-ADDRESS, got %v", all)
	}
	for _, a := range all {
		if a.Addr().Is4() {
			v4 = a
		} else {
			v6 = a
		}
	}
	return r, v4, v6
}

// needDual skips what only a dual allocation shows.
func (c *client) needDual() (v4, v6 netip.AddrPort) {
	_, v4, v6 = c.allocateDual()
	if !v4.IsValid() || !v6.IsValid() {
		c.p.skipf("the server makes no dual allocations")
	}
	return v4, v6
}

func dual(p *probe) {
	alone := p.dial().ask(stun.MethodAllocate, udpRelay, withFamily(stun.FamilyIPv6))
	c := p.dial()
	r, v4, v6 := c.allocateDual()
	if v4.IsValid() && v6.IsValid() {
		p.lacks("both families", r, stun.AttrAddressErrorCode)
		for _, relayed := range []netip.AddrPort{v4, v6} {
			peer := p.peerFor(relayed)
			c.permit(peer.addr)
			c.toPeer(peer.addr, []byte("up"))
			if from := peer.expect("through "+relayed.String(), []byte("up")); from != relayed {
				p.failf("through a dual allocation: expected %v as the source, got %v", relayed, from)
			}
			peer.send(relayed, []byte("down"))
			if _, from := c.fromPeer("through " + relayed.String()); from != peer.addr {
				p.failf("through a dual allocation: expected a datagram from %v, got one from %v", peer.addr, from)
			}
		}
		return
	}
	if alone.ok() {
		p.failf("there are IPv6 relays: expected two XOR-RELAYED-ADDRESS, got %s", r.attributes())
	}
	f, code, err := r.AddressError()
	if err != nil || f != stun.FamilyIPv6 && v4.IsValid() || code != stun.CodeFamilyNotSupported && code != stun.CodeInsufficientCapacity {
		p.failf("half of a dual allocation: expected ADDRESS-ERROR-CODE with 440 or 508, got %s", r.attributes())
	}
	p.note = "one family, with ADDRESS-ERROR-CODE"
}
