package conformance

import (
	"bytes"
	"net/netip"
	"time"

	"traverse.internal/core/stun"
)

var bindChecks = []check{
	{number: 111, ref: "RFC 6062 §5.4", over: onTCP, run: bindCodes, must: "ConnectionBind that is wrong is answered with an error, and the peer's connection waits on"},
	{number: 112, ref: "RFC 6062 §5.4", over: onTCP, run: earlyBytes, must: "what the peer sent before, and the client behind its ConnectionBind, arrives"},
	{number: 113, ref: "RFC 6062 §5.4, §5.5", over: onTCP, run: halfClose, must: "ends go through each way, and the end of the allocation ends everything"},
	{number: 115, ref: "RFC 6062 §5.3", over: onTCP, run: boundedEarly, must: "what a peer sends before ConnectionBind is bounded"},
	{number: 116, ref: "RFC 6062 §5.4", over: onTCP, run: opaque, must: "a bound connection is not looked into"},
}

func bindCodes(p *probe) {
	c := p.dial()
	relayed := c.allocateTCP()
	t := p.tcpPeerFor(relayed)
	id := c.connect(t)
	x := t.accept()
	bind := func(attrs ...attr) reply {
		data := p.dial()
		return data.ask(stun.MethodConnectionBind, attrs...)
	}
	if !p.config.Secure {
		u := p.dialUDP()
		p.want("over UDP", u.ask(stun.MethodConnectionBind, withConnection(id)), stun.CodeBadRequest)
	}
	p.want("without CONNECTION-ID", bind(), stun.CodeBadRequest)
	p.want("of an unknown id", bind(withConnection(id+1)), stun.CodeBadRequest)
	p.want("without credentials", p.dial().exchange(build(stun.MethodConnectionBind.Request(), withConnection(id))), stun.CodeUnauthenticated)
	if p.config.OtherUser != "" {
		other := p.dial()
		other.cred.user, other.cred.password = p.secondUser()
		r := other.ask(stun.MethodConnectionBind, withConnection(id))
		p.want("by another user", r, stun.CodeBadRequest, stun.CodeUnauthenticated, stun.CodeForbidden, stun.CodeWrongCredentials)
	} else {
		p.note = "without a second user"
	}
	data := p.dial()
	r := data.ask(stun.MethodConnectionBind, withConnection(id))
	p.want("by its owner, after all that", r, success)
	if r.CheckIntegrity(data.cred.key()) != nil {
		p.failf("its answer: expected MESSAGE-INTEGRITY, got %s", r.attributes())
	}
	p.want("of a used id", bind(withConnection(id)), stun.CodeBadRequest)
	data.asPipe().send([]byte("still there"))
	x.expect("after all that", []byte("still there"))
}

func earlyBytes(p *probe) {
	c := p.dial()
	relayed := c.allocateTCP()
	c.permit(netip.AddrPortFrom(p.peerIP(stun.FamilyOf(relayed.Addr())), 9))
	x, err := p.call(relayed)
	p.must(err)
	early := bytes.Repeat([]byte("early "), 1000)
	x.send(early)
	id, _ := c.attempt()
	data := p.dial()
	data.challenge()
	p.must(data.send(append(data.signed(stun.MethodConnectionBind, withConnection(id)), "behind the request"...)))
	f, err := data.next(time.Now().Add(p.config.Wait))
	if err != nil {
		p.failf("ConnectionBind with bytes behind it: expected an answer, got %v", err)
	}
	p.want("ConnectionBind with bytes behind it", replyOf(f), success)
	x.expect("behind the request", []byte("behind the request"))
	data.asPipe().expect("sent before the ConnectionBind", early)
}

// joined makes a relayed connection, the client's end first.
func (c *client) joined(relayed netip.AddrPort) (client, peer *pipe) {
	t := c.p.tcpPeerFor(relayed)
	id := c.connect(t)
	x := t.accept()
	return c.join(id), x
}

func halfClose(p *probe) {
	c := p.dial()
	relayed := c.allocateTCP()
	y, x := c.joined(relayed)
	y.send([]byte("last words"))
	p.must(y.conn.CloseWrite())
	x.expect("before the client's end", []byte("last words"))
	x.expectEnd("after the client's half-close")
	x.send([]byte("an answer"))
	p.must(x.conn.CloseWrite())
	y.expect("after its own half-close", []byte("an answer"))
	y.expectEnd("after the peer's half-close")

	y, x = c.joined(relayed)
	p.must(x.conn.Close())
	y.expectEnd("after the peer's close")

	y, x = c.joined(relayed)
	c.permit(netip.AddrPortFrom(p.peerIP(stun.FamilyOf(relayed.Addr())), 9))
	c.drop()
	x.expectEnd("after the end of the control connection")
	y.expectEnd("after the end of the control connection")
	for end := time.Now().Add(500 * time.Millisecond); ; {
		if _, err := p.call(relayed); err != nil {
			return
		}
		if time.Now().After(end) {
			p.failf("after the end of the allocation: expected the relayed port closed, got it open")
		}
		p.sleep(20 * time.Millisecond)
	}
}

func boundedEarly(p *probe) {
	c := p.dial()
	relayed := c.allocateTCP()
	c.permit(netip.AddrPortFrom(p.peerIP(stun.FamilyOf(relayed.Addr())), 9))
	x, err := p.call(relayed)
	p.must(err)
	c.attempt()
	// Kernels keep some megabytes at either end.
	const most = 64 << 20
	piece := make([]byte, 1<<20)
	for sent := 0; sent < most; {
		_ = x.conn.SetWriteDeadline(time.Now().Add(quiet))
		n, err := x.conn.Write(piece)
		sent += n
		if err != nil {
			p.note = "bounded at " + itoa(sent>>10) + " KiB"
			return
		}
	}
	p.failf("before ConnectionBind: expected a bound, got %d MiB taken", most>>20)
}

func opaque(p *probe) {
	c := p.dial()
	y, x := c.joined(c.allocateTCP())
	for _, frame := range [][]byte{
		build(stun.MethodBinding.Request()), c.signed(stun.MethodRefresh, withLifetime(0)), channelData(0x4000, []byte("x")), {0xff, 0xff, 0xff, 0xff},
	} {
		y.send(frame)
		x.expect("bytes that look like a message", frame)
		x.send(frame)
		y.expect("bytes that look like a message", frame)
	}
	p.want("Refresh of the allocation", c.ask(stun.MethodRefresh), success)
}
