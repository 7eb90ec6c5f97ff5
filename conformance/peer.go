package conformance

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"traverse.internal/core/stun"
)

// udpPeer is somebody whom the client wants to reach.
type udpPeer struct {
	p    *probe
	conn *net.UDPConn
	addr netip.AddrPort
}

// peerFor opens a peer of the relayed address's family.
func (p *probe) peerFor(relayed netip.AddrPort) *udpPeer {
	return p.peerAt(p.peerIP(stun.FamilyOf(relayed.Addr())))
}

func (p *probe) peerAt(ip netip.Addr) *udpPeer {
	conn, err := net.ListenUDP(network("udp", ip), net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	p.must(err)
	_ = conn.SetReadBuffer(4 << 20) // as much as it gets
	p.atEnd(func() { conn.Close() })
	return &udpPeer{p, conn, addrPort(conn.LocalAddr())}
}

// send sends to the relayed address.
func (u *udpPeer) send(relayed netip.AddrPort, data []byte) {
	_, err := u.conn.WriteToUDPAddrPort(data, relayed)
	u.p.must(err)
}

// recv returns what comes next, and from whom.
func (u *udpPeer) recv(wait time.Duration) (data []byte, from netip.AddrPort, ok bool) {
	var room [1 << 16]byte
	_ = u.conn.SetReadDeadline(time.Now().Add(wait))
	n, from, err := u.conn.ReadFromUDPAddrPort(room[:])
	return bytes.Clone(room[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err == nil
}

// expect ends the check unless exactly this comes next.
func (u *udpPeer) expect(what string, want []byte) netip.AddrPort {
	got, from, ok := u.recv(u.p.config.Wait)
	switch {
	case !ok:
		u.p.failf("%s: the peer expected %s, got nothing", what, brief(want))
	case !bytes.Equal(got, want):
		u.p.failf("%s: the peer expected %s, got %s", what, brief(want), brief(got))
	}
	return from
}

// nothing ends the check when something comes within a moment.
func (u *udpPeer) nothing(what string) {
	if got, _, ok := u.recv(quiet); ok {
		u.p.failf("%s: the peer expected nothing, got %s", what, brief(got))
	}
}

// quiet is how long nothing must come where nothing else proves the silence.
const quiet = 200 * time.Millisecond

// toPeer sends through a Send indication.
func (c *client) toPeer(peer netip.AddrPort, data []byte, attrs ...attr) {
	c.p.must(c.send(build(stun.MethodSend.Indication(), append([]attr{withPeer(peer), withData(data)}, attrs...)...)))
}

// onChannel sends ChannelData, padded on TCP.
func (c *client) onChannel(n uint16, data []byte) {
	frame := channelData(n, data)
	if c.tcp {
		frame = append(frame, make([]byte, stun.ChannelDataPadding(len(data)))...)
	}
	c.p.must(c.send(frame))
}

// fromPeer waits for a Data indication and returns what it carries.
func (c *client) fromPeer(what string) (data []byte, from netip.AddrPort) {
	f, err := c.await(c.p.config.Wait, func(f []byte) bool {
		m, err := stun.Parse(f)
		return err != nil || m.Type() == stun.MethodData.Indication() // or ChannelData
	})
	if err != nil {
		c.p.failf("%s: the client expected a Data indication, got nothing", what)
	}
	m, err := stun.Parse(f)
	if err != nil {
		c.p.failf("%s: the client expected a Data indication, got %s", what, nameOf(f))
	}
	from, err = m.XORAddr(stun.AttrXORPeerAddress)
	data, ok := m.Attr(stun.AttrData)
	if err != nil || !ok {
		c.p.failf("%s: expected XOR-PEER-ADDRESS and DATA, got %s", what, replyOf(f).attributes())
	}
	return data, from
}

// fromChannel waits for ChannelData and ends the check unless it is this.
func (c *client) fromChannel(what string, number uint16, want []byte) {
	f, err := c.await(c.p.config.Wait, func(f []byte) bool { return !isAnyAnswer(f) })
	if err != nil {
		c.p.failf("%s: the client expected ChannelData, got nothing", what)
	}
	n, data, err := stun.ParseChannelData(f)
	switch {
	case err != nil:
		c.p.failf("%s: the client expected ChannelData, got %s", what, nameOf(f))
	case n != number || !bytes.Equal(data, want):
		c.p.failf("%s: the client expected %s on channel 0x%04x, got %s on 0x%04x", what, brief(want), number, brief(data), n)
	}
}

func isAnyAnswer(f []byte) bool { return stun.IsMessage(f) && f[0]&1 == 1 }

// brief shows a payload.
func brief(b []byte) string {
	if len(b) == 0 {
		return "an empty datagram"
	}
	if len(b) <= 24 {
		return "\"" + string(bytes.ToValidUTF8(b, []byte("?"))) + "\""
	}
	return "bytes: " + itoa(len(b))
}

// closedSoon says whether a relayed UDP port is closed within a time: whoever sends there is told so by ICMP. That works on
// one machine.
func (p *probe) closedSoon(relayed netip.AddrPort, within time.Duration) bool {
	if !relayed.Addr().IsLoopback() {
		p.skipf("only a server on loopback shows whether a relayed port is open")
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(relayed))
	p.must(err)
	defer conn.Close()
	var room [64]byte
	for end := time.Now().Add(within); ; {
		_, err := conn.Write([]byte("?"))
		if err == nil {
			_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			_, err = conn.Read(room[:])
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
