package udp

import "net/netip"

// RecvBatch has the datagrams of one Recv.
type RecvBatch struct {
	buf []byte // BatchLen slots of stride bytes
	n   int    // datagrams received
	recvVectors
}

// Len returns the number of datagrams.
func (b *RecvBatch) Len() int { return b.n }

// Packet returns the i-th datagram.
func (b *RecvBatch) Packet(i int) []byte { return b.Frame(i, 0, 0) }

// Frame returns the i-th datagram with front bytes of its headroom and back bytes of its tailroom.
func (b *RecvBatch) Frame(i, front, back int) []byte {
	begin := i*stride + Headroom
	end := begin + b.size(i) + back
	return b.buf[begin-front : end : end]
}

// slot returns where the i-th datagram is received.
func (b *RecvBatch) slot(i int) []byte {
	begin := i*stride + Headroom
	return b.buf[begin : begin+MaxPacket]
}

// SendBatch collects datagrams for one Send. Its bytes stay the caller's and must not change before Send returns.
type SendBatch struct {
	n int
	sendVectors
}

// Len returns the number of datagrams added since the last Send.
func (b *SendBatch) Len() int { return b.n }

// Full says that Add would find no room.
func (b *SendBatch) Full() bool { return b.n == BatchLen }

// Add appends a datagram. from is the address to leave from, or the zero Addr for the socket's own. It panics when the
// batch is full.
func (b *SendBatch) Add(packet []byte, to netip.AddrPort, from netip.Addr) {
	if b.Full() {
		panic("udp: send batch is full")
	}
	b.set(b.n, packet, to, from)
	b.n++
}
