package conformance

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"traverse.internal/core/stun"
)

var authChecks = []check{
	{number: 13, ref: "RFC 8489 §9.2.4", over: onBoth, run: challenges, must: "without MESSAGE-INTEGRITY: 401, REALM and NONCE, and neither USERNAME nor integrity"},
	{number: 14, ref: "RFC 8489 §9.2.4", over: onBoth, run: incomplete, must: "MESSAGE-INTEGRITY without USERNAME, REALM or NONCE: 400, without REALM and NONCE"},
	{number: 15, ref: "RFC 8489 §9.2.4", over: onBoth, run: wrongUser, must: "unknown user and wrong password get the same 401 with REALM and a NONCE that works"},
	{number: 16, ref: "RFC 8489 §9.2.4", over: onBoth, run: staleNonce, must: "an invalid NONCE: 438, REALM and a NONCE that works"},
	{number: 17, ref: "RFC 8489 §9.2", over: onBoth, run: noncesDiffer, must: "no two sources get the same NONCE"},
	{number: 18, ref: "RFC 8489 §9.2, RFC 6062 §4.3", over: onBoth, run: nonceBound, must: "the NONCE of one source is stale from another, except that a ConnectionBind may use its control connection's"},
	{number: 19, ref: "RFC 8489 §9.2.4", over: onBoth, run: nonceEnds, must: "a NONCE ends within an hour, and the allocation survives that"},
	{number: 20, ref: "RFC 8489 §9.2.4", over: onUDP, run: nonceKeys, must: "when the key of nonces changes, the previous one's are good for their lifetime"},
	{number: 24, ref: "RFC 8489 §9.2.4", over: onBoth, run: answersSigned, must: "every answer to an authenticated request carries MESSAGE-INTEGRITY"},
	{number: 25, ref: "draft-uberti-behave-turn-rest", over: onBoth, run: restExpired, must: "a time-limited credential that is over gets no allocation"},
	{number: 26, ref: "RFC 8489 §9.2.2", over: onBoth, run: nonASCII, must: "a password that is not ASCII works"},
	{number: 27, ref: "RFC 8489 §9.2", over: onBoth, run: indicationsUnsigned, must: "indications are neither authenticated nor answered"},
	{number: 28, ref: "RFC 8656 §5", over: onBoth, run: otherUser, must: "a request by another user on the allocation's 5-tuple: 441"},
	{number: 29, ref: "RFC 8489 §9.2.4", over: onBoth, run: otherRealm, must: "a request for another realm never succeeds"},
	{number: 30, ref: "RFC 8656 §21.1", over: onUDP, run: amplification, must: "an answer to a stranger has at most 2.1 times the bytes of the request, headers of UDP and IP included"},
}

func challenges(p *probe) {
	c := p.dial()
	for _, m := range []stun.Method{stun.MethodAllocate, stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind} {
		r := c.exchange(build(m.Request(), udpRelay))
		p.want(m.String(), r, stun.CodeUnauthenticated)
		p.has(m.String(), r, stun.AttrRealm, stun.AttrNonce)
		p.lacks(m.String(), r, stun.AttrUsername, stun.AttrMessageIntegrity, stun.AttrMessageIntegritySHA256)
	}
}

func incomplete(p *probe) {
	c := p.dial()
	c.challenge()
	for _, t := range []stun.AttrType{stun.AttrUsername, stun.AttrRealm, stun.AttrNonce} {
		cr := c.cred
		cr.without = t
		r := c.exchange(cr.sign(stun.MethodAllocate, udpRelay))
		p.want("without "+t.String(), r, stun.CodeBadRequest)
		p.lacks("without "+t.String(), r, stun.AttrRealm, stun.AttrNonce)
	}
}

func wrongUser(p *probe) {
	c := p.dial()
	c.challenge()
	nobody, guesser := c.cred, c.cred
	nobody.user, guesser.password = "nobody-has-this-name", c.cred.password+"-wrong"
	var shapes []string
	for _, cr := range []credentials{nobody, guesser} {
		r := c.exchange(cr.sign(stun.MethodAllocate, udpRelay))
		p.want("as "+cr.user+" with a wrong password", r, stun.CodeUnauthenticated)
		p.has("as "+cr.user+" with a wrong password", r, stun.AttrRealm, stun.AttrNonce)
		shapes = append(shapes, r.attributes())
		c.learn(r)
	}
	if shapes[0] != shapes[1] {
		p.failf("expected the same answer to an unknown user and to a wrong password, got %s; %s", shapes[0], shapes[1])
	}
	r := c.exchange(c.cred.sign(stun.MethodAllocate, udpRelay))
	c.allocated = r.ok()
	p.want("the right password with the new nonce", r, success)
}

func staleNonce(p *probe) {
	c := p.dial()
	c.challenge()
	for _, nonce := range []string{"x", strings.Repeat("0", len(c.cred.nonce)), "obMatJos2AAAA" + strings.Repeat("A", 16)} {
		cr := c.cred
		cr.nonce = []byte(nonce)
		r := c.exchange(cr.sign(stun.MethodAllocate, udpRelay))
		p.want("nonce "+nonce, r, stun.CodeStaleNonce)
		p.has("nonce "+nonce, r, stun.AttrRealm, stun.AttrNonce)
		c.learn(r)
	}
	r := c.exchange(c.cred.sign(stun.MethodAllocate, udpRelay))
	c.allocated = r.ok()
	p.want("with the new nonce", r, success)
}

func noncesDiffer(p *probe) {
	var seen [][]byte
	for range 4 {
		c := p.dial()
		c.challenge()
		for _, nonce := range seen {
			if bytes.Equal(nonce, c.cred.nonce) {
				p.failf("expected another nonce for each of our ports, got %q twice", nonce)
			}
		}
		seen = append(seen, c.cred.nonce)
	}
}

func nonceBound(p *probe) {
	a, b := p.dial(), p.dial()
	a.challenge()
	r := b.exchange(a.cred.sign(stun.MethodAllocate, udpRelay))
	b.allocated = r.ok()
	b.cred = a.cred
	p.want("Allocate with the nonce of another of our ports", r, stun.CodeStaleNonce)
	if !p.tcp {
		return
	}
	control := p.dial()
	t := p.tcpPeerFor(control.allocateTCP())
	id := control.connect(t)
	data := p.dial()
	p.want("ConnectionBind with the nonce of its control connection", data.exchange(control.cred.sign(stun.MethodConnectionBind, withConnection(id))), success)
}

func nonceEnds(p *probe) {
	life := p.config.NonceLifetime
	if life == 0 {
		p.skipf("takes up to an hour, or the server's own: --nonce-lifetime")
	}
	if life > 10*time.Second {
		p.long(life)
	}
	c := p.dial()
	c.allocate()
	p.sleep(life + time.Second)
	p.want("Refresh with an old nonce", c.exchange(c.cred.sign(stun.MethodRefresh)), stun.CodeStaleNonce)
	p.want("Refresh with the new one", c.ask(stun.MethodRefresh), success)
}

func nonceKeys(p *probe) {
	life := p.config.NonceLifetime
	if life == 0 {
		p.skipf("needs to know how long a nonce is good: --nonce-lifetime")
	}
	if life > 10*time.Second {
		p.long(2 * life)
	}
	c := p.dial()
	c.allocate()
	for range 4 { // a nonce taken at any time is good for most of its lifetime
		c.challenge()
		p.sleep(life * 7 / 10)
		if r := c.exchange(c.cred.sign(stun.MethodRefresh)); !r.ok() && life > 3*time.Second {
			p.failf("a nonce of %v: expected it good for %v, got %v", life*7/10, life, r)
		}
	}
}

func answersSigned(p *probe) {
	c := p.dial()
	check := func(what string, r reply) {
		if !r.came {
			p.failf("%s: expected an answer, got %v", what, r)
		}
		if err := r.CheckIntegrity(c.cred.key()); err != nil {
			p.failf("%s: expected MESSAGE-INTEGRITY, got %s (%v)", what, r.attributes(), err)
		}
	}
	check("a Refresh without an allocation", c.ask(stun.MethodRefresh))
	check("an Allocate of an unsupported transport", c.ask(stun.MethodAllocate, withTransport(1)))
	check("an Allocate with an unknown attribute", c.ask(stun.MethodAllocate, udpRelay, with(unknownRequired)))
	check("an Allocate", c.ask(stun.MethodAllocate, udpRelay))
	check("a second Allocate", c.ask(stun.MethodAllocate, udpRelay))
	check("a CreatePermission without peers", c.ask(stun.MethodCreatePermission))
	check("a ChannelBind of a number out of range", c.ask(stun.MethodChannelBind, withChannel(1)))
	check("a Refresh", c.ask(stun.MethodRefresh))
	check("a Refresh to the end", c.ask(stun.MethodRefresh, withLifetime(0)))
	if p.tcp {
		check("a ConnectionBind of an unknown id", c.ask(stun.MethodConnectionBind, withConnection(1)))
	}
}

func restExpired(p *probe) {
	before, _, found := strings.Cut(p.config.User, ":")
	if !found || strings.Trim(before, "0123456789") != "" {
		p.skipf("needs a time-limited credential: --user EXPIRY:NAME")
	}
	c := p.dial()
	c.challenge()
	c.cred.user = fmt.Sprintf("%d:%s", time.Now().Add(-time.Hour).Unix(), "over")
	r := c.exchange(c.cred.sign(stun.MethodAllocate, udpRelay))
	p.want("a credential of an hour ago", r, stun.CodeUnauthenticated)
}

func nonASCII(p *probe) {
	if strings.IndexFunc(p.config.User+p.config.Password, func(r rune) bool { return r > 0x7f }) < 0 {
		p.skipf("needs a user whose name or password is not ASCII")
	}
	p.dial().allocate()
}

func indicationsUnsigned(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	peer := p.peerFor(relayed)
	c.permit(peer.addr)
	c.toPeer(peer.addr, []byte("unsigned"))
	peer.expect("a Send indication without credentials", []byte("unsigned"))
	wrong := stun.New(nil, stun.MethodBinding.Indication(), stun.NewTransactionID())
	wrong.AddText(stun.AttrUsername, "nobody-has-this-name")
	wrong.AddIntegrity([]byte("wrong"))
	c.silent("indications", wrong.Bytes(), build(stun.MethodBinding.Indication()), build(stun.MethodSend.Indication()))
}

func otherUser(p *probe) {
	user, password := p.secondUser()
	c := p.dial()
	relayed := c.allocate()
	peer := p.peerFor(relayed)
	other := c.cred
	other.user, other.password = user, password
	for _, raw := range [][]byte{
		other.sign(stun.MethodRefresh),
		other.sign(stun.MethodRefresh, withLifetime(0)),
		other.sign(stun.MethodCreatePermission, withPeer(peer.addr)),
		other.sign(stun.MethodChannelBind, withChannel(0x4000), withPeer(peer.addr)),
	} {
		m, _ := stun.Parse(raw)
		p.want(m.Type().Method.String()+" by another user", c.exchange(raw), stun.CodeWrongCredentials)
	}
	p.want("Refresh by the owner", c.ask(stun.MethodRefresh), success)
}

func otherRealm(p *probe) {
	c := p.dial()
	c.challenge()
	honest := c.cred
	refused := func(what string, r reply) {
		if r.ok() {
			p.failf("%s: expected a refusal, got %v", what, r)
		}
	}
	c.cred.realm = "another.example"
	r := c.exchange(c.cred.sign(stun.MethodAllocate, udpRelay))
	c.allocated, c.cred = r.ok(), honest
	refused("a key of another realm", r)
	// REALM of another, key of the server's.
	b := stun.New(nil, stun.MethodAllocate.Request(), stun.NewTransactionID())
	udpRelay(&b)
	b.AddText(stun.AttrUsername, honest.user)
	b.AddText(stun.AttrRealm, "another.example")
	b.Add(stun.AttrNonce, honest.nonce)
	b.AddIntegrity(honest.key())
	r = c.exchange(b.Bytes())
	c.allocated = r.ok()
	refused("REALM of another with the right key", r)
}

func amplification(p *probe) {
	c := p.dial()
	headers := 20 + 8 // IPv4 and UDP
	if p.server.Addr().Is6() {
		headers = 40 + 8
	}
	signed := credentials{user: "nobody", realm: "r", nonce: []byte("n")}
	var worst float64
	for _, raw := range [][]byte{
		build(stun.MethodBinding.Request()),
		build(stun.MethodAllocate.Request()),
		build(stun.MethodAllocate.Request(), udpRelay),
		build(stun.MethodRefresh.Request()),
		build(stun.MethodCreatePermission.Request()),
		build(stun.MethodChannelBind.Request()),
		build(stun.MethodConnect.Request()),
		build(stun.MethodConnectionBind.Request()),
		build(stun.Method(0x0ff).Request()),
		build(stun.MethodBinding.Request(), with(unknownRequired)),
		signed.sign(stun.MethodAllocate, udpRelay),
	} {
		p.must(c.send(raw))
		id := stun.TransactionID(raw[8:stun.HeaderLen])
		f, err := c.await(quiet, func(f []byte) bool { return answers(f, id) })
		if err != nil {
			continue // silence is what amplifies least
		}
		m, _ := stun.Parse(raw)
		ratio := float64(len(f)+headers) / float64(len(raw)+headers)
		worst = max(worst, ratio)
		if ratio > 2.1 {
			p.failf("%v of %d bytes: expected at most 2.1 times as many, got %d: %.2f times", m.Type(), len(raw)+headers, len(f)+headers, ratio)
		}
	}
	p.note = fmt.Sprintf("at most %.2f", worst)
}
