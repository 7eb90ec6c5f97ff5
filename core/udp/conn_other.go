//go:build !linux

package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
)

const canShare = false

// Conn is an unconnected UDP socket that never waits. Close may be called at any time, by anyone; the other methods say so
// themselves.
type Conn struct {
	udp      *net.UDPConn
	local    netip.AddrPort
	failures int
	waiting  atomic.Pointer[arrival] // what its reader has for Recv; nil: nothing
	taken    chan struct{}           // Recv took it
}

// arrival is a datagram between the reader and Recv.
type arrival struct {
	data []byte
	from netip.AddrPort
	err  error
}

func listen(addr netip.AddrPort, o Options, _ bool) (*Conn, error) {
	network := "udp6" // which also sets IPV6_V6ONLY
	if addr.Addr().Is4() {
		network = "udp4"
	}
	pc, err := new(net.ListenConfig).ListenPacket(context.Background(), network, addr.String())
	if err != nil {
		return nil, fmt.Errorf("udp: %w", err)
	}
	c := &Conn{udp: pc.(*net.UDPConn), taken: make(chan struct{}, 1)}
	c.local = c.udp.LocalAddr().(*net.UDPAddr).AddrPort()
	// Refusals are not failures: the kernel's own size is a working one.
	if o.RecvBuffer > 0 {
		_ = c.udp.SetReadBuffer(o.RecvBuffer)
	}
	if o.SendBuffer > 0 {
		_ = c.udp.SetWriteBuffer(o.SendBuffer)
	}
	return c, nil
}

func (c *Conn) share() error { return nil }

// Toward does not exist here.
func (c *Conn) Toward(netip.AddrPort, Options) (*Conn, error) { return nil, errors.ErrUnsupported }

// MaxToward is 0: there is no Toward.
func MaxToward() int { return 0 }

// Close ends the socket.
func (c *Conn) Close() error { return c.udp.Close() }

// KeepsWhole says that KeepWhole has no effect.
const KeepsWhole = false

// KeepWhole does nothing here.
func (c *Conn) KeepWhole(bool) {}

// NextError knows of nothing here.
func (c *Conn) NextError(*RecvBatch) (ICMPError, bool) { return ICMPError{}, false }

// recvVectors has the senders of a batch.
type recvVectors struct{ names [BatchLen]netip.AddrPort }

// NewRecvBatch returns an empty batch for up to BatchLen datagrams.
func NewRecvBatch(stats *Stats) *RecvBatch {
	return &RecvBatch{stats: stats, buf: make([]byte, BatchLen*stride)}
}

func (b *RecvBatch) reset() {}

func (b *RecvBatch) from(i int) netip.AddrPort { return b.names[i] }

// to does not know: list addresses here instead of the unspecified one.
func (b *RecvBatch) to(int) netip.Addr { return netip.Addr{} }

func (b *RecvBatch) tos(int) uint8 { return 0 }

// Recv adds the datagram that its Poller told of. The error is net.ErrClosed, or that of a socket that is broken. One
// goroutine at a time.
func (c *Conn) Recv(b *RecvBatch, limit int) (int, error) {
	if limit <= 0 || b.Room() == 0 {
		return 0, nil
	}
	a := c.waiting.Swap(nil)
	if a == nil {
		return 0, nil
	}
	defer func() { c.taken <- struct{}{} }()
	if a.err != nil {
		return 0, c.failed(a.err)
	}
	c.failures = 0
	b.names[b.n] = netip.AddrPortFrom(a.from.Addr().Unmap(), a.from.Port())
	b.split(b.n, copy(b.slot(b.n), a.data), 0)
	b.n++
	b.stats.RecvCalls.Add(1)
	b.stats.Received.Add(1)
	return 1, nil
}

// failed decides about an error: most are about an earlier Send, such as a peer's refusal.
func (c *Conn) failed(err error) error {
	if c.failures++; c.failures < maxErrors && !errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("udp: receive on %v: %w", c.local, err)
}

// sendVectors has the datagrams of a Send.
type sendVectors struct {
	data   [BatchLen][]byte // reused
	routes [BatchLen]Route
}

// NewSendBatch returns an empty batch for up to BatchLen datagrams.
func NewSendBatch(stats *Stats) *SendBatch { return &SendBatch{stats: stats} }

func (b *SendBatch) add(route Route, head, body, tail []byte) {
	b.data[b.n] = append(append(append(b.data[b.n][:0], head...), body...), tail...)
	b.routes[b.n] = route
	b.n++
}

// Send sends the batch one by one, empties it, and returns how many datagrams were dropped. Safe for concurrent use with
// different batches.
func (c *Conn) Send(b *SendBatch) (drops Drops) {
	for i := range b.n {
		if _, err := c.udp.WriteToUDPAddrPort(b.data[i], b.routes[i].To); err != nil {
			drops.Refused++
		}
	}
	b.stats.SendCalls.Add(uint64(b.n))
	b.stats.Sent.Add(uint64(b.n - drops.Total()))
	b.n, b.packets, b.used = 0, 0, 0
	return drops
}
