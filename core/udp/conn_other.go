//go:build !linux

package udp

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

const canShare = false

type receiver struct{}

func shareControl(_, _ string, _ syscall.RawConn) error { return nil }

func (c *Conn) share() error { return nil }

func (c *Conn) prepare() error { return nil }

// recvVectors has the one datagram of a Recv.
type recvVectors struct {
	length int
	from   netip.AddrPort
}

func newRecvBatch() *RecvBatch { return &RecvBatch{buf: make([]byte, stride)} }

func (b *RecvBatch) size(int) int { return b.length }

// From returns who sent the i-th datagram.
func (b *RecvBatch) From(int) netip.AddrPort { return b.from }

// To returns the zero Addr: arrival addresses are not known here, list addresses instead of the unspecified one.
func (b *RecvBatch) To(int) netip.Addr { return netip.Addr{} }

// Recv waits for a datagram and returns it in a batch of the pool, which the caller puts back. One goroutine at a time.
func (c *Conn) Recv(pool *Pool) (*RecvBatch, error) {
	b := pool.get()
	var err error
	for range maxErrors {
		var n int
		var from netip.AddrPort
		n, from, err = c.udp.ReadFromUDPAddrPort(b.slot(0))
		if err == nil {
			b.n, b.length = 1, n
			b.from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
			return b, nil
		}
		if errors.Is(err, net.ErrClosed) {
			break
		}
		// An error of an earlier send, such as a peer's refusal: it says nothing about this socket.
	}
	pool.Put(b)
	return nil, err
}

// sendVectors has the datagrams of a Send.
type sendVectors struct {
	packets [BatchLen][]byte
	to      [BatchLen]netip.AddrPort
}

// NewSendBatch returns an empty batch for up to BatchLen datagrams.
func NewSendBatch() *SendBatch { return new(SendBatch) }

func (b *SendBatch) set(i int, packet []byte, to netip.AddrPort, _ netip.Addr) {
	b.packets[i], b.to[i] = packet, to
}

// Send sends the batch one by one, empties it, and returns how many datagrams were dropped. Safe for concurrent use with
// different batches.
func (c *Conn) Send(b *SendBatch) (dropped int) {
	for i := range b.n {
		if _, err := c.udp.WriteToUDPAddrPort(b.packets[i], b.to[i]); err != nil {
			dropped++
		}
	}
	b.n = 0
	return dropped
}
