package turnclient

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/core/stun"
)

// Limits of a UDP allocation.
const (
	// MaxDatagram is the longest datagram that is sent or handed over, in bytes. Longer ones from peers are dropped.
	MaxDatagram = 2048
	// MaxChannels bounds the peers that Bind gives a channel; what goes to others has 32 bytes more.
	MaxChannels = 32
	// maxUnsent bounds what waits for a control connection over TCP or TLS; beyond it datagrams are lost, as on any path.
	maxUnsent = 256 << 10
	// indicationLen is the longest Send or Data indication with a datagram in it: header, XOR-PEER-ADDRESS of IPv6, DATA.
	indicationLen = stun.HeaderLen + 24 + 4 + MaxDatagram // and whatever else a server adds, up to maxFrame
)

// UDPAllocation is a UDP port at the relay that is ours until Close. Safe for concurrent use.
//
// Datagrams travel inside the control connection, as ChannelData to peers that were bound and as indications else. Over TCP
// and TLS they come and go in order, over UDP as they come; either way they get lost when there is no room.
type UDPAllocation struct {
	lease
	receive func(from netip.AddrPort, b []byte)

	chans struct { // peers with a channel
		sync.RWMutex // guards the fields below
		peer         map[uint16]netip.AddrPort
		num          map[netip.AddrPort]channel
		next         uint16
	}
	unsent struct { // over TCP and TLS
		sync.Mutex // guards the field below
		frames     []byte
	}
	wake    chan struct{} // tells sendLoop of unsent frames
	dropped struct{ in, out atomic.Uint64 }
}

// channel is the number that stands for a peer, once the relay has agreed to it.
type channel struct {
	num   uint16
	bound bool
}

// AllocateUDP asks for a UDP port of the given family. Errors are those of Allocate; a relay that lends no UDP ports is
// [ErrTransport]. Each datagram that peers send to the port is handed to receive, one at a time: it must not wait, and not
// keep the bytes.
func (c *Client) AllocateUDP(ctx context.Context, family Family, receive func(from netip.AddrPort, b []byte)) (*UDPAllocation, error) {
	a := &UDPAllocation{lease: newLease(c, family), receive: receive, wake: make(chan struct{}, 1)}
	a.chans.peer, a.chans.num = make(map[uint16]netip.AddrPort), make(map[netip.AddrPort]channel)
	a.chans.next = stun.MinChannel
	a.renew = a.rebind
	if !c.datagrams.CompareAndSwap(nil, a) {
		return nil, ErrAllocated
	}
	lifetime, err := a.ask(ctx, stun.TransportUDP)
	if err == nil {
		loops := []func(){func() { a.keepLoop(lifetime) }}
		if !c.cfg.UDP {
			loops = append(loops, a.sendLoop)
		}
		err = c.start(loops...)
	}
	if err != nil {
		c.datagrams.Store(nil)
		return nil, err
	}
	return a, nil
}

// Bind makes datagrams to and from a peer shorter and cheaper, and permits its address. It is kept alive until Close. More
// than MaxChannels peers give ErrLimit.
func (a *UDPAllocation) Bind(ctx context.Context, peer netip.AddrPort) error {
	peer = netip.AddrPortFrom(peer.Addr().Unmap().WithZone(""), peer.Port())
	num, err := a.reserve(peer)
	if err != nil || num == 0 {
		return err
	}
	err = a.bindChannel(ctx, num, peer)
	a.chans.Lock()
	defer a.chans.Unlock()
	if err != nil {
		delete(a.chans.num, peer) // the number is spent: the relay may have bound it
		delete(a.chans.peer, num)
		return err
	}
	a.chans.num[peer] = channel{num, true}
	return nil
}

// reserve takes the next number for a peer; 0: it has one.
func (a *UDPAllocation) reserve(peer netip.AddrPort) (uint16, error) {
	a.chans.Lock()
	defer a.chans.Unlock()
	if _, ok := a.chans.num[peer]; ok {
		return 0, nil
	}
	if a.chans.next >= stun.MinChannel+MaxChannels {
		return 0, ErrLimit
	}
	num := a.chans.next
	a.chans.next++
	a.chans.num[peer], a.chans.peer[num] = channel{num: num}, peer
	return num, nil
}

func (a *UDPAllocation) bindChannel(ctx context.Context, num uint16, peer netip.AddrPort) error {
	_, err := a.c.do(ctx, stun.MethodChannelBind, a.c.cfg.Timeout, func(b *stun.Builder) {
		b.AddChannelNumber(num)
		b.AddXORAddr(stun.AttrXORPeerAddress, peer)
	})
	return err
}

// rebind keeps the channels alive: they live for 600 s, their permissions for 300 (RFC 8656 §12.2). One that the relay refuses by
// now is forgotten, and its peer sent to by indications.
func (a *UDPAllocation) rebind(ctx context.Context) error {
	a.chans.RLock()
	all := maps.Clone(a.chans.num)
	a.chans.RUnlock()
	for peer, ch := range all {
		err := a.bindChannel(ctx, ch.num, peer)
		var refused *Error
		switch {
		case errors.As(err, &refused):
			a.chans.Lock()
			delete(a.chans.num, peer)
			a.chans.Unlock()
		case err != nil:
			return err
		}
	}
	return nil
}

// Send sends the parts as one datagram from the relayed address. It never waits: what there is no room for is lost, and
// false. So is a datagram that is longer than MaxDatagram or goes to the other family.
func (a *UDPAllocation) Send(to netip.AddrPort, parts ...[]byte) bool {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if n > MaxDatagram || FamilyOf(to.Addr()) != a.family || a.c.life.Err() != nil {
		a.dropped.out.Add(1)
		return false
	}
	if a.c.cfg.UDP {
		b := a.frame(make([]byte, 0, indicationLen), to, n, parts)
		if _, err := a.c.conn.Write(b); err != nil {
			a.dropped.out.Add(1)
			return false
		}
		return true
	}
	a.unsent.Lock()
	room := len(a.unsent.frames)+n < maxUnsent
	if room {
		a.unsent.frames = a.frame(a.unsent.frames, to, n, parts)
	}
	a.unsent.Unlock()
	if !room {
		a.dropped.out.Add(1)
		return false
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
	return true
}

// frame appends a datagram of n bytes as the relay wants it, padded to four bytes.
func (a *UDPAllocation) frame(dst []byte, to netip.AddrPort, n int, parts [][]byte) []byte {
	a.chans.RLock()
	ch := a.chans.num[to]
	a.chans.RUnlock()
	padding := stun.ChannelDataPadding(n)
	if ch.bound {
		dst = stun.AppendChannelDataHeader(dst, ch.num, n)
	} else {
		b := stun.New(nil, stun.MethodSend.Indication(), stun.NewTransactionID())
		b.AddXORAddr(stun.AttrXORPeerAddress, to)
		padding = b.AddHeader(stun.AttrData, n)
		dst = append(dst, b.Bytes()...)
	}
	for _, p := range parts {
		dst = append(dst, p...)
	}
	return append(dst, make([]byte, padding)...)
}

// sendLoop writes what Send has queued, all of it at once, until the client ends.
func (a *UDPAllocation) sendLoop() {
	var frames []byte
	for {
		select {
		case <-a.wake:
		case <-a.c.life.Done():
			return
		}
		a.unsent.Lock()
		frames, a.unsent.frames = a.unsent.frames, frames[:0]
		a.unsent.Unlock()
		if len(frames) > 0 && a.c.writeFrames(frames) != nil {
			return
		}
	}
}

// writeFrames writes whole frames to a stream. A write that fails may have sent half of one, so it ends the client.
func (c *Client) writeFrames(b []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.cfg.Timeout))
	if _, err := c.conn.Write(b); err != nil {
		c.fail(failure(context.Background(), c.server, "control connection", err))
		return c.gone()
	}
	return nil
}

// Dropped counts the datagrams that were lost here: those from peers that were too long or came by no known way, and those of Send.
func (a *UDPAllocation) Dropped() (in, out uint64) { return a.dropped.in.Load(), a.dropped.out.Load() }

// Bound returns the peers that have a channel.
func (a *UDPAllocation) Bound() []netip.AddrPort {
	a.chans.RLock()
	defer a.chans.RUnlock()
	var all []netip.AddrPort
	for peer, ch := range a.chans.num {
		if ch.bound {
			all = append(all, peer)
		}
	}
	slices.SortFunc(all, netip.AddrPort.Compare)
	return all
}

// channelData hands over what a peer with a channel sent.
func (a *UDPAllocation) channelData(b []byte) {
	num, data, err := stun.ParseChannelData(b)
	a.chans.RLock()
	peer, ok := a.chans.peer[num]
	a.chans.RUnlock()
	if err != nil || !ok || len(data) > MaxDatagram {
		a.dropped.in.Add(1)
		return
	}
	a.receive(peer, data)
}

// indicated hands over what a peer without a channel sent.
func (a *UDPAllocation) indicated(m stun.Message) {
	peer, err := m.XORAddr(stun.AttrXORPeerAddress)
	data, ok := m.Attr(stun.AttrData)
	// Without DATA it tells of an ICMP message (RFC 8656 §11.6), which changes nothing here.
	if err != nil || !ok || len(data) > MaxDatagram || len(m.AppendUnknown(nil, nil)) > 0 {
		a.dropped.in.Add(1)
		return
	}
	a.receive(netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()), data)
}
