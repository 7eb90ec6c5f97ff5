package probe

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"time"

	"traverse.internal/core/stun"
)

// probeChannel is the number that is bound; any would do.
const probeChannel = stun.MinChannel

// patience for a datagram: three tries of a second.
const (
	dataTries = 3
	dataWait  = time.Second
)

// allocation is one relayed address, and the connection that it lives with.
type allocation struct {
	*client
	relayed netip.AddrPort
}

func (r *run) allocate(family stun.Family, transport stun.Transport) (*allocation, error) {
	c, err := r.dial()
	if err != nil {
		return nil, err
	}
	m, err := c.ask(stun.MethodAllocate, func(b *stun.Builder) {
		b.AddRequestedTransport(transport)
		if family != stun.FamilyIPv4 { // the default, and some servers know no other
			b.AddFamily(stun.AttrRequestedAddressFamily, family)
		}
	})
	var relayed netip.AddrPort
	if err == nil {
		relayed, err = m.XORAddr(stun.AttrXORRelayedAddress)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return &allocation{c, relayed}, nil
}

// release gives the allocation back. A server that does not answer frees it itself.
func (a *allocation) release() {
	_, _ = a.ask(stun.MethodRefresh, func(b *stun.Builder) { b.AddUint32(stun.AttrLifetime, 0) })
	a.close()
}

func (a *allocation) permit(ip netip.Addr) error {
	_, err := a.ask(stun.MethodCreatePermission, peerAttr(netip.AddrPortFrom(ip, 0)))
	return err
}

func (a *allocation) bindChannel(peer netip.AddrPort) error {
	_, err := a.ask(stun.MethodChannelBind, func(b *stun.Builder) { b.AddChannelNumber(probeChannel) }, peerAttr(peer))
	return err
}

func peerAttr(peer netip.AddrPort) func(*stun.Builder) {
	return func(b *stun.Builder) { b.AddXORAddr(stun.AttrXORPeerAddress, peer) }
}

// sendChannel sends to the bound peer.
func (a *allocation) sendChannel(data []byte) error {
	b := stun.AppendChannelDataHeader(nil, probeChannel, len(data))
	b = append(b, data...)
	if a.stream {
		b = append(b, make([]byte, stun.ChannelDataPadding(len(data)))...)
	}
	_, err := a.conn.Write(b)
	return err
}

// await returns what a peer sent, on the channel or in an indication.
func (a *allocation) await(until time.Time) ([]byte, error) {
	for {
		frame, err := a.next(until)
		if err != nil {
			return nil, err
		}
		if number, data, err := stun.ParseChannelData(frame); err == nil && number == probeChannel {
			return data, nil
		}
		if m, err := stun.Parse(frame); err == nil && m.Type() == stun.MethodData.Indication() {
			if data, ok := m.Attr(stun.AttrData); ok {
				return data, nil
			}
		}
	}
}

// peer is the other end of the data.
type peer interface {
	addr() netip.AddrPort
	send(data []byte, to netip.AddrPort) error
	await(until time.Time) ([]byte, error)
	close()
}

// relayPeer is an allocation as a peer. It is released by who made it.
type relayPeer struct{ a *allocation }

func (p relayPeer) addr() netip.AddrPort                  { return p.a.relayed }
func (p relayPeer) await(until time.Time) ([]byte, error) { return p.a.await(until) }
func (p relayPeer) close()                                {}

func (p relayPeer) send(data []byte, to netip.AddrPort) error {
	b := stun.New(nil, stun.MethodSend.Indication(), stun.NewTransactionID())
	b.AddXORAddr(stun.AttrXORPeerAddress, to)
	b.Add(stun.AttrData, data)
	_, err := p.a.conn.Write(b.Bytes())
	return err
}

// localPeer is a socket of this machine.
type localPeer struct {
	run  *run
	conn *net.UDPConn
	at   netip.AddrPort
}

func (p *localPeer) addr() netip.AddrPort { return p.at }
func (p *localPeer) close()               { _ = p.conn.Close() }

func (p *localPeer) send(data []byte, to netip.AddrPort) error {
	_, err := p.conn.WriteToUDPAddrPort(data, to)
	return err
}

func (p *localPeer) await(until time.Time) ([]byte, error) {
	b := make([]byte, 2048)
	_ = p.conn.SetReadDeadline(until)
	n, err := p.conn.Read(b)
	return b[:n], err
}

// exchange sends a datagram each way. Datagrams are lost sometimes.
func exchange(near *allocation, far peer) error {
	up := func() error { return near.sendChannel([]byte("probe to peer")) }
	down := func() error { return far.send([]byte("probe to client"), near.relayed) }
	if err := arrives(up, far.await, "probe to peer"); err != nil {
		return fmt.Errorf("from client to peer: %w", err)
	}
	if err := arrives(down, near.await, "probe to client"); err != nil {
		return fmt.Errorf("from peer to client: %w", err)
	}
	return nil
}

func arrives(send func() error, await func(time.Time) ([]byte, error), want string) error {
	for range dataTries {
		if err := send(); err != nil {
			return err
		}
		got, err := await(time.Now().Add(dataWait))
		if err == nil && bytes.Equal(got, []byte(want)) {
			return nil
		}
		if err != nil && !isTimeout(err) {
			return err
		}
	}
	return &noDataError{fmt.Sprintf("in %v", dataTries*dataWait)}
}
