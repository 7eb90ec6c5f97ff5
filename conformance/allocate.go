package conformance

import (
	"net/netip"
	"time"

	"traverse.internal/core/stun"
)

var allocateChecks = []check{
	{number: 38, ref: "RFC 8656 §7.2", over: onBoth, run: noTransport, must: "REQUESTED-TRANSPORT missing or short: 400"},
	{number: 39, ref: "RFC 8656 §7.2", over: onBoth, run: otherTransports, must: "a transport that is neither UDP nor TCP: 442"},
	{number: 40, ref: "RFC 6062 §5.1", over: onBoth, run: udpForbidden, must: "UDP relays forbidden by policy: 403"},
	{number: 41, ref: "RFC 8656 §7.2, §11.2", over: onBoth, run: fragments, must: "DONT-FRAGMENT: 420 when it is not supported, else it is obeyed in Send, too"},
	{number: 42, ref: "RFC 8656 §7.2", over: onBoth, run: tokenAlone, must: "RESERVATION-TOKEN with EVEN-PORT or a family: 400"},
	{number: 43, ref: "RFC 8656 §7.2", over: onBoth, run: unknownToken, must: "an unknown RESERVATION-TOKEN: 508"},
	{number: 48, ref: "RFC 8656 §7.2", over: onBoth, run: even, must: "EVEN-PORT without R: an even port, no token, and the next port stays free"},
	{number: 49, ref: "RFC 8656 §7.2", over: onBoth, run: pair, must: "EVEN-PORT with R: an even port, and a token for the next one, good once, from any 5-tuple"},
	{number: 50, ref: "RFC 8656 §7.2", over: onBoth, run: noPairs, must: "no even pair left: 508"},
	{number: 53, ref: "RFC 8656 §7.2", over: onUDP, run: quota, alone: true, must: "beyond a user's quota: 486"},
	{number: 54, ref: "RFC 8656 §7.2", over: onUDP, run: capacity, alone: true, must: "beyond what the server can hold: 508"},
	{number: 55, ref: "RFC 8656 §7.2, RFC 8489 §10", over: onBoth, run: redirect, must: "a redirection: 300 and ALTERNATE-SERVER of the same family, authenticated"},
	{number: 56, ref: "RFC 8656 §7.2", over: onBoth, run: lifetimes, must: "LIFETIME: 600 s without, with 0 and with less; at most an hour"},
	{number: 57, ref: "RFC 8656 §7.2", over: onBoth, run: allocated, must: "the answer has XOR-RELAYED-ADDRESS, LIFETIME and XOR-MAPPED-ADDRESS"},
	{number: 58, ref: "RFC 8656 §7.2", over: onUDP, run: relayPorts, must: "relay ports are from 49152 to 65535 and cannot be foretold"},
	{number: 59, ref: "RFC 8656 §7.2", over: onUDP, run: notVisible("whether a failed Allocate left a socket"), must: "an Allocate that fails leaves no socket open"},
	{number: 60, ref: "RFC 8656 §7.2", over: onBoth, run: advertised, must: "the relayed address is one of its family that a peer can use"},
}

func notVisible(what string) func(*probe) {
	return func(*probe) { panic(unseen("not on the wire: " + what)) }
}

func udpForbidden(p *probe) {
	if r := p.dial().ask(stun.MethodAllocate, udpRelay); !r.came || r.code != stun.CodeForbidden {
		p.skipf("needs a server that forbids UDP relays")
	}
}

func noPairs(p *probe) {
	r := p.dial().ask(stun.MethodAllocate, udpRelay, evenPair)
	if r.ok() {
		p.skipf("needs a server with no pair of ports left")
	}
	p.want("EVEN-PORT with R", r, stun.CodeInsufficientCapacity)
	p.want("without EVEN-PORT", p.dial().ask(stun.MethodAllocate, udpRelay), success)
}

func noTransport(p *probe) {
	c := p.dial()
	p.want("no REQUESTED-TRANSPORT", c.ask(stun.MethodAllocate), stun.CodeBadRequest)
	p.want("REQUESTED-TRANSPORT of no bytes", c.ask(stun.MethodAllocate, with(stun.AttrRequestedTransport)), stun.CodeBadRequest)
	p.want("REQUESTED-TRANSPORT of two bytes", c.ask(stun.MethodAllocate, with(stun.AttrRequestedTransport, 17, 0)), stun.CodeBadRequest)
}

func otherTransports(p *probe) {
	c := p.dial()
	for _, n := range []byte{0, 1, 132, 255} {
		p.want("transport "+itoa(int(n)), c.ask(stun.MethodAllocate, withTransport(n)), stun.CodeUnsupportedTransport)
	}
}

func fragments(p *probe) {
	c := p.dial()
	r := c.ask(stun.MethodAllocate, udpRelay, dontFragment)
	p.want("Allocate with DONT-FRAGMENT", r, success, stun.CodeUnknownAttribute)
	supported := r.ok()
	var relayed netip.AddrPort
	if supported {
		relayed = c.relayed(r)
	} else {
		p.has("420", r, stun.AttrUnknownAttributes)
		if list, _ := r.AppendUnknownAttributes(nil); len(list) != 1 || list[0] != stun.AttrDontFragment {
			p.failf("UNKNOWN-ATTRIBUTES: expected DONT-FRAGMENT, got %v", list)
		}
		relayed = c.allocate()
	}
	peer := p.peerFor(relayed)
	c.permit(peer.addr)
	fragment, err := peer.watchDF()
	c.toPeer(peer.addr, []byte("whole"), dontFragment)
	c.toPeer(peer.addr, []byte("next"))
	if supported {
		peer.expect("Send with DONT-FRAGMENT", []byte("whole"))
		p.note = "supported"
	} else {
		p.note = "not supported: 420"
	}
	peer.expect("Send without it", []byte("next"))
	switch {
	case !supported || !relayed.Addr().Is4():
	case err != nil:
		p.note += "; whether DF is set was not seen: " + err.Error()
	default:
		if df, ok := fragment("whole"); ok && !df {
			p.failf("Send with DONT-FRAGMENT: expected DF, got a datagram without it")
		} else if ok {
			p.note += ", with DF"
		}
	}
}

func tokenAlone(p *probe) {
	c := p.dial()
	token := withToken(make([]byte, 8))
	p.want("with EVEN-PORT", c.ask(stun.MethodAllocate, udpRelay, token, evenPort), stun.CodeBadRequest)
	p.want("with REQUESTED-ADDRESS-FAMILY", c.ask(stun.MethodAllocate, udpRelay, token, withFamily(stun.FamilyIPv4)), stun.CodeBadRequest)
	p.want("with ADDITIONAL-ADDRESS-FAMILY", c.ask(stun.MethodAllocate, udpRelay, token, withAdditional(stun.FamilyIPv6)), stun.CodeBadRequest)
}

func unknownToken(p *probe) {
	p.want("a token of nobody", p.dial().ask(stun.MethodAllocate, udpRelay, withToken([]byte("12345678"))), stun.CodeInsufficientCapacity)
}

func even(p *probe) {
	c := p.dial()
	r := c.ask(stun.MethodAllocate, udpRelay, evenPort)
	p.want("Allocate with EVEN-PORT", r, success)
	relayed := c.relayed(r)
	if relayed.Port()%2 != 0 {
		p.failf("expected an even port, got %v", relayed)
	}
	p.lacks("without R", r, stun.AttrReservationToken)
	if relayed.Addr().IsLoopback() && !p.closedSoon(netip.AddrPortFrom(relayed.Addr(), relayed.Port()+1), 0) {
		p.failf("expected port %d free, got it open", relayed.Port()+1)
	}
}

func pair(p *probe) {
	c := p.dial()
	r := c.ask(stun.MethodAllocate, udpRelay, evenPair)
	p.want("Allocate with EVEN-PORT and R", r, success)
	relayed := c.relayed(r)
	token, ok := r.Attr(stun.AttrReservationToken)
	if relayed.Port()%2 != 0 || !ok || len(token) != 8 {
		p.failf("expected an even port and a token of 8 bytes, got port %d and token %x", relayed.Port(), token)
	}
	if p.config.Long {
		p.sleep(29 * time.Second)
	}
	second := p.dial()
	r = second.ask(stun.MethodAllocate, udpRelay, withToken(token))
	p.want("Allocate with the token", r, success)
	if next := second.relayed(r); next != netip.AddrPortFrom(relayed.Addr(), relayed.Port()+1) {
		p.failf("Allocate with the token: expected port %d, got %v", relayed.Port()+1, next)
	}
	p.want("Allocate with the token once more", p.dial().ask(stun.MethodAllocate, udpRelay, withToken(token)), stun.CodeInsufficientCapacity)
}

// fill makes allocations until there are n, or one is refused.
func (p *probe) fill(n int) (made int, refused reply) {
	for range n {
		c := p.dial()
		if r := c.ask(stun.MethodAllocate, udpRelay); !r.ok() {
			return made, r
		}
		made++
	}
	return made, p.dial().ask(stun.MethodAllocate, udpRelay)
}

func quota(p *probe) {
	if p.config.Quota == 0 {
		p.skipf("needs to know the quota of a user: --quota")
	}
	made, r := p.fill(p.config.Quota)
	p.want("Allocate behind "+itoa(made), r, stun.CodeAllocationQuotaReached)
	if made != p.config.Quota {
		p.failf("expected %d allocations, got %d", p.config.Quota, made)
	}
}

func capacity(p *probe) {
	if p.config.Capacity == 0 {
		p.skipf("needs to know how many allocations the server can hold: --capacity")
	}
	made, r := p.fill(p.config.Capacity)
	p.want("Allocate behind "+itoa(made), r, stun.CodeInsufficientCapacity)
	if made != p.config.Capacity {
		p.failf("expected %d allocations, got %d", p.config.Capacity, made)
	}
}

func redirect(p *probe) {
	c := p.dial()
	r := c.ask(stun.MethodAllocate, udpRelay)
	if !r.came || r.code != stun.CodeTryAlternate {
		p.skipf("needs a server that redirects")
	}
	at, err := r.Addr(stun.AttrAlternateServer)
	if err != nil || stun.FamilyOf(at.Addr()) != stun.FamilyOf(p.server.Addr()) {
		p.failf("300: expected ALTERNATE-SERVER of the same family, got %s", r.attributes())
	}
	if r.CheckIntegrity(c.cred.key()) != nil {
		p.failf("300: expected MESSAGE-INTEGRITY, got %s", r.attributes())
	}
}

// lifetimeOf ends the check unless LIFETIME of a success is within bounds.
func (p *probe) lifetimeOf(what string, r reply, low, high uint32) {
	p.want(what, r, success)
	seconds, err := r.Uint32(stun.AttrLifetime)
	if err != nil || seconds < low || seconds > high {
		p.failf("%s: expected LIFETIME %d to %d, got %d in %s", what, low, high, seconds, r.attributes())
	}
}

func lifetimes(p *probe) {
	for _, want := range []struct {
		what      string
		attrs     []attr
		low, high uint32
	}{
		{"without LIFETIME", nil, 600, 600},
		{"LIFETIME 0", []attr{withLifetime(0)}, 600, 600},
		{"LIFETIME 5", []attr{withLifetime(5)}, 600, 600},
		{"LIFETIME 900", []attr{withLifetime(900)}, 900, 900},
		{"LIFETIME 4294967295", []attr{withLifetime(1<<32 - 1)}, 600, 3600},
	} {
		c := p.dial()
		r := c.ask(stun.MethodAllocate, append([]attr{udpRelay}, want.attrs...)...)
		p.lifetimeOf("Allocate: "+want.what, r, want.low, want.high)
	}
}

func allocated(p *probe) {
	c := p.dial()
	r := c.ask(stun.MethodAllocate, udpRelay)
	p.want("Allocate", r, success)
	p.has("Allocate", r, stun.AttrXORRelayedAddress, stun.AttrLifetime, stun.AttrXORMappedAddress)
	p.lacks("Allocate", r, stun.AttrReservationToken)
	mapped, err := r.XORAddr(stun.AttrXORMappedAddress)
	if err != nil || p.server.Addr().IsLoopback() && mapped != c.local() {
		p.failf("XOR-MAPPED-ADDRESS: expected %v, got %v", c.local(), mapped)
	}
}

func relayPorts(p *probe) {
	const tries = 8
	var ports []int
	for range tries {
		port := int(p.dial().allocateWith(udpRelay).Port())
		if port < 49152 {
			p.failf("expected a port from 49152 on, got %d", port)
		}
		ports = append(ports, port)
	}
	// Eight numbers out of 16,384 that are in order by chance: 2 in 8! = 40,320. Even then not all are close together.
	near := 0
	for i := 1; i < tries; i++ {
		if d := ports[i] - ports[i-1]; d >= -4 && d <= 4 {
			near++
		}
	}
	if near > tries/2 {
		p.failf("expected ports that cannot be foretold, got %v", ports)
	}
}

func advertised(p *probe) {
	for _, f := range []stun.Family{stun.FamilyIPv4, stun.FamilyIPv6} {
		c := p.dial()
		r := c.ask(stun.MethodAllocate, udpRelay, withFamily(f))
		if !r.ok() {
			continue
		}
		at := c.relayed(r)
		if stun.FamilyOf(at.Addr()) != f || at.Addr().IsUnspecified() || at.Addr().IsMulticast() || at.Port() == 0 {
			p.failf("expected a relayed address of %v, got %v", f, at)
		}
	}
}
