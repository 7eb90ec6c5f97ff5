package conformance

import (
	"bytes"
	"net/netip"

	"traverse.internal/core/stun"
)

var dataChecks = []check{
	{number: 75, ref: "RFC 8656 §11.2", over: onBoth, run: sendNeedsBoth, must: "Send without peer or DATA is dropped; with DATA of no bytes it is an empty datagram"},
	{number: 76, ref: "RFC 8656 §11.2", over: onBoth, run: sendUnpermitted, must: "Send to a peer without permission is dropped"},
	{number: 77, ref: "RFC 8489 §6.3.2", over: onBoth, run: sendUnknown, must: "Send with an unknown attribute that must be understood is dropped"},
	{number: 78, ref: "RFC 8656 §11.2", over: onBoth, run: sendSource, must: "datagrams to peers come from the relayed address"},
	{number: 79, ref: "RFC 8656 §11.3, §12.7", over: onBoth, run: downlink, must: "datagrams of a peer with a channel come as ChannelData, others as Data with the peer's address"},
	{number: 80, ref: "RFC 8656 §11, §12", over: onBoth, run: largeDatagrams, must: "datagrams up to the largest that UDP has are relayed whole, both ways"},
	{number: 81, ref: "RFC 8656 §11.5, §11.6", over: onBoth, run: icmp, must: "an ICMP error of a permitted peer comes as Data with ICMP"},
	{number: 82, ref: "RFC 8656 §14", over: onBoth, run: tos, must: "DSCP and ECN are copied from UDP to UDP; from TCP the datagram is not ECN-capable"},
}

func sendNeedsBoth(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	peer := p.peerFor(relayed)
	c.permit(peer.addr)
	send := stun.MethodSend.Indication()
	c.silent("Send without DATA", build(send, withPeer(peer.addr)))
	c.silent("Send without XOR-PEER-ADDRESS", build(send, withData([]byte("to whom"))))
	c.silent("Send with a malformed XOR-PEER-ADDRESS", build(send, brokenPeer, withData([]byte("to whom"))))
	c.toPeer(peer.addr, nil)
	peer.expect("Send with DATA of no bytes", nil)
	peer.send(relayed, nil)
	if data, _ := c.fromPeer("an empty datagram of a peer"); len(data) > 0 {
		p.failf("an empty datagram of a peer: expected no DATA, got %s", brief(data))
	}
}

func sendUnpermitted(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	peer := p.peerFor(relayed)
	c.toPeer(peer.addr, []byte("too early"))
	c.silent("Send to a peer without permission")
	c.permit(peer.addr)
	c.toPeer(peer.addr, []byte("now"))
	peer.expect("Send", []byte("now"))
}

func sendUnknown(p *probe) {
	c := p.dial()
	peer := p.peerFor(c.allocate())
	c.permit(peer.addr)
	c.toPeer(peer.addr, []byte("with"), with(unknownRequired))
	c.toPeer(peer.addr, []byte("optional"), with(unknownOptional, 1))
	peer.expect("Send with an unknown attribute, then one with one that may be ignored", []byte("optional"))
}

func sendSource(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	peer := p.peerFor(relayed)
	c.bind(0x4000, peer.addr)
	c.toPeer(peer.addr, []byte("by Send"))
	from := peer.expect("Send", []byte("by Send"))
	c.onChannel(0x4000, []byte("by channel"))
	if again := peer.expect("ChannelData", []byte("by channel")); from != again {
		p.failf("expected one source, got %v and %v", from, again)
	}
	if from != relayed {
		p.failf("expected the relayed address %v as the source, got %v", relayed, from)
	}
}

func downlink(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	with, without := p.peerFor(relayed), p.peerFor(relayed)
	c.bind(0x4abc, with.addr)
	with.send(relayed, []byte("channel"))
	c.fromChannel("from the peer with a channel", 0x4abc, []byte("channel"))
	without.send(relayed, []byte("indication"))
	if data, from := c.fromPeer("from another port of it"); from != without.addr || string(data) != "indication" {
		p.failf("from another port: expected \"indication\" of %v, got %s of %v", without.addr, brief(data), from)
	}
}

func largeDatagrams(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	peer := p.peerFor(relayed)
	c.bind(0x4000, peer.addr)
	sizes := []int{1200, 1473, 1601, 9000, 65000, 65503} // 65507 less 4 of ChannelData
	if p.tcp {
		sizes[len(sizes)-1] = 65507 // 65535 less 20 of IPv4 and 8 of UDP
	}
	if p.config.Datagrams {
		sizes = []int{1200, 1473, 1601, 8000} // a record has 16 KiB, of which our DTLS client takes half
	}
	for _, n := range sizes {
		data := bytes.Repeat([]byte{byte(n), byte(n >> 8), 'x'}, n/3+1)[:n]
		c.onChannel(0x4000, data)
		peer.expect("ChannelData of "+itoa(n)+" bytes", data)
		peer.send(relayed, data)
		c.fromChannel("a peer's datagram of "+itoa(n)+" bytes", 0x4000, data)
	}
	other := p.peerFor(relayed)
	const n = 1700
	data := bytes.Repeat([]byte("y"), n)
	c.toPeer(other.addr, data)
	other.expect("Send of "+itoa(n)+" bytes", data)
	other.send(relayed, data)
	if got, _ := c.fromPeer("a peer's datagram of " + itoa(n) + " bytes"); !bytes.Equal(got, data) {
		p.failf("a peer's datagram of %d bytes: got %d", n, len(got))
	}
}

// closedPort is an address of ours where nobody listens.
func (p *probe) closedPort(relayed netip.AddrPort) netip.AddrPort {
	conn := p.peerFor(relayed)
	conn.conn.Close()
	return conn.addr
}

func icmp(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	closed := p.closedPort(relayed)
	c.permit(closed)
	c.toPeer(closed, []byte("anybody?"))
	f, err := c.await(p.config.Wait/2, func(f []byte) bool { return !isAnyAnswer(f) })
	if err != nil {
		p.failf("Send to a closed port: expected Data with ICMP, got nothing")
	}
	r := replyOf(f)
	p.has("after a Send to a closed port", r, stun.AttrXORPeerAddress, stun.AttrICMP)
	p.lacks("after a Send to a closed port", r, stun.AttrData)
	at, err := r.XORAddr(stun.AttrXORPeerAddress)
	if err != nil || at != closed {
		p.failf("Data with ICMP: expected the peer %v, got %v", closed, at)
	}
	typ, code, _, err := r.ICMP()
	wantType, wantCode := uint8(3), uint8(3) // destination unreachable, port
	if closed.Addr().Is6() {
		wantType, wantCode = 1, 4
	}
	if err != nil || typ != wantType || code != wantCode {
		p.failf("ICMP: expected type %d code %d, got type %d code %d", wantType, wantCode, typ, code)
	}
}

func tos(p *probe) {
	p.plain("a traffic class")
	c := p.dial()
	relayed := c.allocate()
	peer := p.peerFor(relayed)
	c.bind(0x4000, peer.addr)
	const ef, ect0 = 0xb8, 0x02 // DSCP 46 shifted, and ECT(0)
	p.must(peer.wantTOS())
	p.must(c.setTOS(ef | ect0))
	c.onChannel(0x4000, []byte("marked"))
	got, err := peer.recvTOS(p.config.Wait)
	p.must(err)
	if p.tcp {
		if got&3 != 0 {
			p.failf("from TCP: expected a datagram that is not ECN-capable, got 0x%02x", got)
		}
		return
	}
	if got != ef|ect0 {
		p.failf("ChannelData with DSCP 46 and ECT(0): expected 0x%02x, got 0x%02x", ef|ect0, got)
	}
	c.toPeer(peer.addr, []byte("marked"))
	if got, err = peer.recvTOS(p.config.Wait); err != nil || got != ef|ect0 {
		p.failf("Send with DSCP 46 and ECT(0): expected 0x%02x, got 0x%02x", ef|ect0, got)
	}
}
