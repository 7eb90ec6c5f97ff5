package conformance

import (
	"net/netip"

	"traverse.internal/core/stun"
)

var otherChecks = []check{
	{number: 117, ref: "RFC 8016 §3.1", over: onBoth, run: ticket, must: "an empty MOBILITY-TICKET in Allocate gets a ticket, or 405 when mobility is off"},
	{number: 118, ref: "RFC 8016 §3.2", over: onBoth, run: moves, must: "a ticket moves its allocation to another 5-tuple of its user, and a wrong one gets nothing"},
	{number: 119, ref: "RFC 7350, RFC 6347 §4.2.1", over: onUDP, run: cookieFirst, must: "DTLS asks for a cookie before it keeps state"},
	{number: 120, ref: "RFC 8489 §8.1, §10", over: onUDP, run: notVisible("what a client does with SRV records and redirections"), must: "redirections are bounded, SRV names are turn and turns"},
	{number: 121, ref: "RFC 8656 §3.1", over: onBoth, run: familiesAgree, must: "the server answers alike at its IPv4 and IPv6 address"},
}

// ticketOf asks for mobility, or skips what needs it.
func (c *client) ticketOf() []byte {
	r := c.ask(stun.MethodAllocate, udpRelay, with(attrTicket))
	if r.came && r.code == stun.CodeMobilityForbidden {
		return nil
	}
	c.p.want("Allocate with an empty MOBILITY-TICKET", r, success, stun.CodeMobilityForbidden)
	ticket, ok := r.Attr(attrTicket)
	if !ok {
		c.p.skipf("the server does not know MOBILITY-TICKET")
	}
	if len(ticket) < 16 {
		c.p.failf("MOBILITY-TICKET: expected one that cannot be guessed, got %d bytes", len(ticket))
	}
	return ticket
}

func ticket(p *probe) {
	if p.dial().ticketOf() == nil {
		p.note = "mobility is off: 405"
	}
}

func moves(p *probe) {
	before := p.dial()
	ticket := before.ticketOf()
	if ticket == nil {
		p.skipf("mobility is off: 405")
	}
	peer := p.peerAt(p.peerIP(stun.FamilyIPv4))
	before.permit(peer.addr)
	after := p.dial()
	wrong := append([]byte(nil), ticket...)
	wrong[len(wrong)-1] ^= 1
	p.want("Refresh with a wrong ticket", after.ask(stun.MethodRefresh, with(attrTicket, wrong...)), stun.CodeBadRequest, stun.CodeAllocationMismatch)
	if p.config.OtherUser != "" {
		other := p.dial()
		other.cred.user, other.cred.password = p.secondUser()
		p.want("Refresh with another user's ticket", other.ask(stun.MethodRefresh, with(attrTicket, ticket...)), stun.CodeWrongCredentials)
	}
	r := after.ask(stun.MethodRefresh, with(attrTicket, ticket...))
	p.want("Refresh with the ticket", r, success)
	after.allocated = true
	if next, ok := r.Attr(attrTicket); !ok || string(next) == string(ticket) {
		p.failf("Refresh with the ticket: expected a new one, got %s", r.attributes())
	}
	after.toPeer(peer.addr, []byte("moved"))
	peer.expect("from the new 5-tuple", []byte("moved"))
}

func familiesAgree(p *probe) {
	if len(p.config.Servers) < 2 {
		p.skipf("the server was given with one address")
	}
	type behaviour struct{ binding, challenge, allocate, refresh string }
	at := func(server netip.AddrPort) (b behaviour) {
		p.server = server
		c := p.dial()
		b.binding = c.binding().attributes()
		b.challenge = c.challenge().attributes()
		b.allocate = c.ask(stun.MethodAllocate, udpRelay).attributes()
		b.refresh = c.ask(stun.MethodRefresh).attributes()
		return b
	}
	server := p.server
	a, b := at(p.config.Servers[0]), at(p.config.Servers[1])
	p.server = server
	if a != b {
		p.failf("expected the same at both addresses, got %+v and %+v", a, b)
	}
}
