package conformance

import (
	"encoding/binary"
	"net"
	"net/netip"
	"unicode/utf8"

	"traverse.internal/core/stun"
)

var generalChecks = []check{
	{number: 1, ref: "RFC 8489 §5, §6.3", over: onUDP, run: dropsMalformed, must: "what is no STUN message is dropped in silence"},
	{number: 2, ref: "RFC 8489 §6.3.1", over: onBoth, run: refusesUnknown, must: "an unknown attribute that must be understood is answered with 420 and listed once"},
	{number: 3, ref: "RFC 8489 §14", over: onBoth, run: ignoresOptional, must: "an unknown attribute that may be ignored is ignored"},
	{number: 4, ref: "RFC 8489 §14.7", over: onUDP, run: fingerprints, must: "a wrong or misplaced FINGERPRINT is dropped, and a right one is answered with one"},
	{number: 5, ref: "RFC 8489 §14.5", over: onBoth, run: ignoresBehindIntegrity, must: "attributes behind MESSAGE-INTEGRITY are ignored"},
	{number: 6, ref: "RFC 8489 §14", over: onBoth, run: firstCounts, must: "of two attributes of a type the first counts, except XOR-PEER-ADDRESS in CreatePermission"},
	{number: 7, ref: "RFC 8489 §2", over: onUDP, run: bindingSaysLittle, must: "Binding is answered with XOR-MAPPED-ADDRESS and nothing that makes it longer"},
	{number: 8, ref: "RFC 8489 §6.3", over: onBoth, run: unknownMethods, must: "unknown methods get an error or silence; responses are dropped"},
	{number: 9, ref: "RFC 8489 §6.3.1.1", over: onUDP, run: answersFromThere, must: "the answer comes from the address that was asked"},
	{number: 10, ref: "RFC 8489 §14", over: onBoth, run: padding, must: "any padding is accepted, zeros are sent, and a value that overruns the message is refused"},
	{number: 11, ref: "RFC 8489 §14.2", over: onBoth, run: xorAddresses, must: "IPv6 addresses are xored with cookie and transaction id"},
	{number: 12, ref: "RFC 8489 §14.8", over: onBoth, run: errorCodes, must: "ERROR-CODE has a class of 3 to 6, a number below 100 and a phrase of less than 128 characters"},
}

func dropsMalformed(p *probe) {
	c := p.dial()
	good := func() []byte { return build(stun.MethodBinding.Request()) }
	change := func(do func(b []byte)) []byte { b := good(); do(b); return b }
	c.silent("first bits 10", change(func(b []byte) { b[0] |= 0x80 }))
	c.silent("first bits 11", change(func(b []byte) { b[0] |= 0xc0 }))
	c.silent("another cookie", change(func(b []byte) { b[4] ^= 0xff }))
	c.silent("a length that is no multiple of four", append(change(func(b []byte) { b[3] = 2 }), 0, 0))
	c.silent("a length beyond the datagram", change(func(b []byte) { b[3] = 4 }))
	c.silent("a length within the datagram", append(good(), 0x80, 0x22, 0, 0))
	c.silent("half a header", good()[:12])
	c.silent("an empty datagram", []byte{})
}

func refusesUnknown(p *probe) {
	c := p.dial()
	list := func(what string, r reply, want ...stun.AttrType) {
		p.want(what, r, stun.CodeUnknownAttribute)
		p.has(what, r, stun.AttrUnknownAttributes)
		got, err := r.AppendUnknownAttributes(nil)
		if err != nil {
			p.failf("%s: UNKNOWN-ATTRIBUTES: %v", what, err)
		}
		// RFC 5389 had an odd list padded by a repeated type; both have each type once.
		counts := map[stun.AttrType]int{}
		for _, t := range got {
			counts[t]++
		}
		if len(got) != len(want) {
			p.failf("%s: expected %v, got %v", what, want, got)
		}
		for _, t := range want {
			if counts[t] != 1 {
				p.failf("%s: expected %v once, got %v", what, t, got)
			}
		}
	}
	list("Allocate", c.ask(stun.MethodAllocate, udpRelay, with(unknownRequired), with(unknownRequired-1, 1, 2, 3), with(unknownRequired)),
		unknownRequired, unknownRequired-1)
	list("Binding", c.binding(with(unknownRequired)), unknownRequired)
	c.silent("a Binding indication with it", build(stun.MethodBinding.Indication(), with(unknownRequired)))
}

func ignoresOptional(p *probe) {
	c := p.dial()
	p.want("Binding", c.binding(with(unknownOptional, 1, 2, 3)), success)
	c.allocateWith(udpRelay, with(unknownOptional, 1), with(unknownOptional))
}

func fingerprints(p *probe) {
	c := p.dial()
	sealed := func() []byte {
		b := stun.New(nil, stun.MethodBinding.Request(), stun.NewTransactionID())
		b.AddFingerprint()
		return b.Bytes()
	}
	r := c.exchange(sealed())
	p.want("Binding with FINGERPRINT", r, success)
	p.has("its answer", r, stun.AttrFingerprint)
	if r.CheckFingerprint() != nil {
		p.failf("the answer's FINGERPRINT is wrong")
	}
	wrong := sealed()
	wrong[len(wrong)-1] ^= 1
	c.silent("a wrong FINGERPRINT", wrong)
	c.silent("a FINGERPRINT that is not last", behind(sealed(), stun.AttrSoftware, 'x'))
}

func ignoresBehindIntegrity(p *probe) {
	c := p.dial()
	r := c.exchange(behind(c.signed(stun.MethodAllocate, udpRelay), unknownRequired, 1))
	if r.ok() {
		c.allocated = true
	}
	p.want("Allocate with an unknown attribute behind MESSAGE-INTEGRITY", r, success)
	r = c.exchange(behind(c.signed(stun.MethodRefresh), stun.AttrLifetime, 0, 0, 0, 0))
	p.want("Refresh with LIFETIME 0 behind MESSAGE-INTEGRITY", r, success)
	if seconds, err := r.Uint32(stun.AttrLifetime); err != nil || seconds == 0 {
		p.failf("Refresh with LIFETIME 0 behind MESSAGE-INTEGRITY: expected it ignored, got LIFETIME %d", seconds)
	}
	p.want("Refresh afterwards", c.ask(stun.MethodRefresh), success)
}

func firstCounts(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	r := c.ask(stun.MethodRefresh, withLifetime(700), withLifetime(900))
	p.want("Refresh with two LIFETIMEs", r, success)
	if seconds, _ := r.Uint32(stun.AttrLifetime); seconds != 700 {
		p.failf("Refresh with LIFETIME 700 and LIFETIME 900: expected 700, got %d", seconds)
	}
	peer := p.peerFor(relayed)
	other := otherIP(peer.addr)
	c.permit(peer.addr)
	p.want("CreatePermission for two peers", c.ask(stun.MethodCreatePermission, withPeer(other), withPeer(peer.addr)), success, stun.CodeForbidden)
}

// otherIP is another address that is likely to be ours, too, or at least permitted.
func otherIP(a netip.AddrPort) netip.AddrPort {
	if a.Addr().Is4() && a.Addr().IsLoopback() {
		return netip.AddrPortFrom(a.Addr().Next(), a.Port())
	}
	return netip.AddrPortFrom(a.Addr(), a.Port()^1)
}

func bindingSaysLittle(p *probe) {
	c := p.dial()
	r := c.binding()
	p.want("Binding", r, success)
	if _, err := r.XORAddr(stun.AttrXORMappedAddress); err != nil {
		p.failf("Binding: XOR-MAPPED-ADDRESS: %v", err)
	}
	p.lacks("Binding", r, stun.AttrMappedAddress, attrOther, attrOrigin, stun.AttrSoftware)
}

func unknownMethods(p *probe) {
	c := p.dial()
	for _, m := range []stun.Method{0x000, 0x002, 0x0ff, 0xfff} {
		raw := build(m.Request())
		p.must(c.send(raw))
		id := stun.TransactionID(raw[8:stun.HeaderLen])
		if f, err := c.await(quiet/2, func(f []byte) bool { return answers(f, id) }); err == nil {
			p.want("a request of "+m.String(), replyOf(f), stun.CodeBadRequest, stun.CodeMobilityForbidden, stun.CodeUnauthenticated)
		}
	}
	c.silent("responses", build(stun.MethodBinding.Success()), build(stun.MethodAllocate.Error()), build(stun.Method(0xff).Success()))
}

func answersFromThere(p *probe) {
	p.plain("where an answer comes from")
	conn, err := net.ListenUDP(network("udp", p.server.Addr()), nil)
	p.must(err)
	p.atEnd(func() { conn.Close() })
	u := &udpPeer{p: p, conn: conn}
	u.send(p.server, build(stun.MethodBinding.Request()))
	_, from, ok := u.recv(p.config.Wait)
	if !ok || from != netip.AddrPortFrom(p.server.Addr().WithZone(""), p.server.Port()) {
		p.failf("Binding: expected an answer from %v, got one from %v", p.server, from)
	}
}

func padding(p *probe) {
	c := p.dial()
	raw := build(stun.MethodBinding.Request(), with(stun.AttrSoftware, 'a', 'b', 'c', 'd', 'e'))
	copy(raw[len(raw)-3:], "\xff\x01\x7f")
	p.want("Binding with padding that is not zero", c.exchange(raw), success)
	r := c.challenge()
	for off := stun.HeaderLen; off+4 <= len(r.Raw); {
		n := int(binary.BigEndian.Uint16(r.Raw[off+2:]))
		end := off + 4 + n
		next := off + 4 + (n+3)&^3
		for _, b := range r.Raw[end:next] {
			if b != 0 {
				p.failf("the padding of %v: expected zeros, got 0x%02x", stun.AttrType(binary.BigEndian.Uint16(r.Raw[off:])), b)
			}
		}
		off = next
	}
	long := build(stun.MethodBinding.Request(), with(unknownOptional, 1, 2, 3, 4))
	binary.BigEndian.PutUint16(long[stun.HeaderLen+2:], 400)
	if r := c.exchange(long); r.came {
		p.want("a value that overruns the message", r, stun.CodeBadRequest)
	}
	p.want("Binding afterwards", p.dial().binding(), success)
}

func xorAddresses(p *probe) {
	c := p.dial()
	if r := c.binding(); r.ok() && stun.FamilyOf(p.server.Addr()) == stun.FamilyIPv6 {
		// The same address twice under different transaction ids differs on the wire; read back it has to be one.
		a, errA := r.XORAddr(stun.AttrXORMappedAddress)
		b, errB := c.binding().XORAddr(stun.AttrXORMappedAddress)
		if errA != nil || errB != nil || a != b {
			p.failf("XOR-MAPPED-ADDRESS: expected the same twice, got %v and %v", a, b)
		}
		if p.server.Addr().IsLoopback() && a != c.local() {
			p.failf("XOR-MAPPED-ADDRESS: expected %v, got %v", c.local(), a)
		}
	}
	relayed := c.allocateFamily(stun.FamilyIPv6)
	peer := p.peerFor(relayed)
	c.permit(peer.addr)
	peer.send(relayed, []byte("six"))
	if _, from := c.fromPeer("to the relayed address as it was read"); from != peer.addr {
		p.failf("XOR-PEER-ADDRESS: expected %v, got %v", peer.addr, from)
	}
}

func errorCodes(p *probe) {
	c := p.dial()
	seen := 0
	for _, r := range []reply{
		c.challenge(),
		c.ask(stun.MethodRefresh),
		c.ask(stun.MethodAllocate, withTransport(1)),
		c.ask(stun.MethodAllocate),
		c.ask(stun.MethodAllocate, udpRelay, with(unknownRequired)),
	} {
		if !r.came {
			continue // other checks ask whether it has to
		}
		if r.ok() {
			continue
		}
		seen++
		v, _ := r.Attr(stun.AttrErrorCode)
		code, phrase, err := r.ErrorCode()
		if err != nil || v[0] != 0 || v[1] != 0 || v[2] > 6 {
			p.failf("ERROR-CODE: expected two zero bytes, class and number, got % x", v[:min(4, len(v))])
		}
		if !utf8.Valid(phrase) || utf8.RuneCount(phrase) >= 128 {
			p.failf("%v: expected a phrase of less than 128 characters, got %q", code, phrase)
		}
		if code == 404 || code == 421 {
			p.failf("an error: got %d, which no standard has", code)
		}
	}
	if seen == 0 {
		p.failf("requests that are wrong: expected errors, got none")
	}
}
