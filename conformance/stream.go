package conformance

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"time"

	"traverse.internal/core/stun"
)

var streamChecks = []check{
	{number: 95, ref: "RFC 8656 §12.5", over: onTCP, run: streamPadding, must: "on a stream ChannelData is padded to four bytes both ways, and its length does not count that"},
	{number: 96, ref: "RFC 8656 §12.5", over: onTCP, run: streamSmall, must: "ChannelData of one to four bytes is relayed at once"},
	{number: 97, ref: "RFC 8489 §6.2.2", over: onTCP, run: streamPieces, must: "frames in pieces, and several in one piece, are understood"},
	{number: 98, ref: "RFC 8656 §12.5", over: onTCP, run: streamLongest, must: "ChannelData of 65535 bytes neither hangs the stream nor loses its place"},
	{number: 99, ref: "RFC 8489 §6.2.2", over: onTCP, run: streamGarbage, must: "garbage ends the connection"},
	{number: 100, ref: "RFC 8656 §2.1", over: onTCP, run: streamSlow, must: "a client that does not read loses datagrams, and nobody else does"},
	{number: 101, ref: "RFC 7443, RFC 8656 §3.1", over: onTCP, run: secured, must: "TLS 1.2 or later, with ALPN stun.turn"},
	{number: 102, ref: "PROXY protocol", over: onTCP, run: proxyHeader, must: "a PROXY header of who is not trusted changes nothing"},
}

// expectEnd ends the check unless the server closes the connection.
func (c *client) expectEnd(what string) {
	for {
		_, err := c.next(time.Now().Add(c.p.config.Wait))
		switch {
		case err == nil: // an answer may come before
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.p.failf("%s: expected the connection closed, got it open", what)
		default:
			return
		}
	}
}

func streamPadding(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	peer := p.peerFor(relayed)
	c.bind(0x4000, peer.addr)
	for _, text := range []string{"fives", "sixsix", "sevens!", "eighteen"} {
		c.onChannel(0x4000, []byte(text))
		peer.expect("padded ChannelData", []byte(text))
	}
	for _, text := range []string{"fives", "sixsix", "sevens!", "eighteen"} {
		peer.send(relayed, []byte(text))
	}
	for _, text := range []string{"fives", "sixsix", "sevens!", "eighteen"} {
		c.fromChannel("padded ChannelData", 0x4000, []byte(text))
	}
	p.want("Refresh behind them", c.ask(stun.MethodRefresh), success)
}

func streamSmall(p *probe) {
	c := p.dial()
	relayed := c.allocate()
	peer := p.peerFor(relayed)
	c.bind(0x4000, peer.addr)
	for _, text := range []string{"1", "22", "333", "4444"} {
		c.onChannel(0x4000, []byte(text))
		peer.expect("ChannelData of "+itoa(len(text))+" bytes", []byte(text))
		peer.send(relayed, []byte(text))
		c.fromChannel("a datagram of "+itoa(len(text))+" bytes", 0x4000, []byte(text))
	}
}

func streamPieces(p *probe) {
	c := p.dial()
	peer := p.peerFor(c.allocate())
	c.bind(0x4000, peer.addr)
	framed := func(text string) []byte {
		return append(channelData(0x4000, []byte(text)), make([]byte, stun.ChannelDataPadding(len(text)))...)
	}
	for _, b := range framed("bytewise") {
		p.must(c.send([]byte{b}))
		p.sleep(time.Millisecond)
	}
	peer.expect("ChannelData byte by byte", []byte("bytewise"))
	refresh := c.signed(stun.MethodRefresh)
	merged := bytes.Join([][]byte{framed("a"), framed("bb"), refresh, framed("ccc")}, nil)
	cut := len(merged) - 6
	p.must(c.send(merged[:cut]))
	peer.expect("the first of several frames", []byte("a"))
	peer.expect("the second of several frames", []byte("bb"))
	id := stun.TransactionID(refresh[8:stun.HeaderLen])
	f, err := c.await(p.config.Wait, func(f []byte) bool { return answers(f, id) })
	if err != nil {
		p.failf("a Refresh among ChannelData: expected an answer, got none: %v", err)
	}
	p.want("a Refresh among ChannelData", replyOf(f), success)
	p.must(c.send(merged[cut:]))
	peer.expect("a frame whose end came later", []byte("ccc"))
}

func streamLongest(p *probe) {
	c := p.dial()
	peer := p.peerFor(c.allocate())
	c.bind(0x4000, peer.addr)
	c.onChannel(0x4000, make([]byte, 0xffff)) // no datagram is as long
	c.onChannel(0x4000, []byte("behind"))
	for {
		got, _, ok := peer.recv(p.config.Wait)
		if !ok {
			p.failf("ChannelData behind one of 65535 bytes: the peer expected it, got nothing")
		}
		if string(got) == "behind" {
			break
		}
	}
	p.want("Refresh behind it", c.ask(stun.MethodRefresh), success)
}

func streamGarbage(p *probe) {
	for _, garbage := range []string{
		"GET / HTTP/1.1\r\nHost: turn.example\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("tls!", 16),
		"\x00\x01\x00\x00" + strings.Repeat("\x00", 16), // a Binding of RFC 3489
		"\x00\x01\x00\x03\x21\x12\xa4\x42twelve bytes\x00\x00\x00\x00",
	} {
		c := p.dial()
		p.must(c.send([]byte(garbage)))
		c.expectEnd("a stream that begins with " + brief([]byte(garbage[:4])))
	}
	c := p.dial()
	c.allocate()
	p.must(c.send([]byte("\xff\xff\xff\xff garbage behind an allocation")))
	c.expectEnd("garbage behind an allocation")
}

func streamSlow(p *probe) {
	slow, other := p.dial(), p.dial()
	a, b := slow.allocate(), other.allocate()
	peer, peerB := p.peerFor(a), p.peerFor(b)
	slow.bind(0x4000, peer.addr)
	other.bind(0x4000, peerB.addr)
	data := bytes.Repeat([]byte("slow"), 8192/4)
	for range 2000 { // 16 MB, more than the kernel keeps
		peer.send(a, data)
	}
	begin := time.Now()
	peerB.send(b, []byte("meanwhile"))
	other.fromChannel("another client's datagram, while one does not read", 0x4000, []byte("meanwhile"))
	if d := time.Since(begin); d > time.Second {
		p.failf("another client's datagram: expected at once, got it after %v", d)
	}
	p.want("Refresh of the slow client, behind what it had not read", slow.ask(stun.MethodRefresh), success)
	for _, f := range slow.aside {
		if n, got, err := stun.ParseChannelData(f); err != nil || n != 0x4000 || !bytes.Equal(got, data) {
			p.failf("what the slow client reads later: expected whole frames, got %s", nameOf(f))
		}
	}
}

func proxyHeader(p *probe) {
	c := p.dial()
	family, claimed := "TCP4", "198.51.100.77"
	if p.server.Addr().Is6() {
		family, claimed = "TCP6", "2001:db8::77"
	}
	header := "PROXY " + family + " " + claimed + " " + claimed + " 11111 3478\r\n"
	raw := append([]byte(header), build(stun.MethodBinding.Request())...)
	p.must(c.send(raw))
	f, err := c.await(p.config.Wait/2, func([]byte) bool { return true })
	if err != nil {
		return // closed, or silence
	}
	if at, err := replyOf(f).XORAddr(stun.AttrXORMappedAddress); err == nil && at.Addr().String() == claimed {
		p.failf("expected our own address, got the one of the header: %v", at)
	}
}
