package udp

import "net/netip"

// RecvBatch has received datagrams, until Reset. It belongs to one goroutine.
type RecvBatch struct {
	stats   *Stats
	buf     []byte // BatchLen slots of stride bytes
	n       int    // slots in use
	packets []packet
	recvVectors
}

// packet is a datagram: a whole slot, or one of a train that lies there.
type packet struct {
	slot      int32
	off, size int32
	alone     bool // its slot has no other
}

// Reset forgets the datagrams.
func (b *RecvBatch) Reset() {
	b.reset()
	b.n, b.packets = 0, b.packets[:0]
}

// Room returns how many messages still fit.
func (b *RecvBatch) Room() int { return BatchLen - b.n }

// Len returns the number of datagrams.
func (b *RecvBatch) Len() int { return len(b.packets) }

// Packet returns the i-th datagram.
func (b *RecvBatch) Packet(i int) []byte {
	p := &b.packets[i]
	begin := int(p.slot)*stride + Headroom + int(p.off)
	return b.buf[begin : begin+int(p.size) : begin+int(p.size)]
}

// Frame returns the i-th datagram with front bytes of its headroom and back bytes of its tailroom; nil when it has neither,
// because others lie beside it.
func (b *RecvBatch) Frame(i, front, back int) []byte {
	p := &b.packets[i]
	if !p.alone {
		return nil
	}
	begin := int(p.slot)*stride + Headroom
	end := begin + int(p.size) + back
	return b.buf[begin-front : end : end]
}

// Follows says whether the i-th datagram came in one train with the one before it: then it has the same sender, the same
// destination and the same traffic class.
func (b *RecvBatch) Follows(i int) bool { return i > 0 && b.packets[i].slot == b.packets[i-1].slot }

// From returns who sent the i-th datagram.
func (b *RecvBatch) From(i int) netip.AddrPort { return b.from(int(b.packets[i].slot)) }

// To returns at which address the i-th datagram arrived, or the zero Addr when the socket has only one.
func (b *RecvBatch) To(i int) netip.Addr { return b.to(int(b.packets[i].slot)) }

// TOS returns DSCP and ECN of the i-th datagram, the byte as IPv4 and IPv6 have it. 0 when the socket was not opened with
// Options.TOS.
func (b *RecvBatch) TOS(i int) uint8 { return b.tos(int(b.packets[i].slot)) }

// slot returns where the i-th message is received.
func (b *RecvBatch) slot(i int) []byte {
	begin := i*stride + Headroom
	return b.buf[begin : begin+MaxPacket]
}

// split notes the datagrams of a message of n bytes; segment is the length of all but the last of them.
func (b *RecvBatch) split(slot, n, segment int) {
	if segment <= 0 || segment >= n {
		b.packets = append(b.packets, packet{slot: int32(slot), size: int32(n), alone: true})
		return
	}
	b.stats.TrainsIn.Add(1)
	for off := 0; off < n; off += segment {
		b.packets = append(b.packets, packet{slot: int32(slot), off: int32(off), size: int32(min(segment, n-off))})
	}
}

// SendBatch collects datagrams for one Send. Those in a row with the same way and the same length become a train, where
// the system has such. Their bytes stay the caller's and must not change before Send returns. It belongs to one goroutine.
type SendBatch struct {
	stats   *Stats
	n       int // messages
	packets int
	parts   int
	arena   [arenaLen]byte
	used    int // of arena
	sendVectors
}

// Route is the way of a datagram.
type Route struct {
	To   netip.AddrPort
	From netip.Addr // the address to leave from, or the zero Addr for the socket's own
	TOS  uint8      // DSCP and ECN, as RecvBatch.TOS gives them
}

// Len returns the number of datagrams added since the last Send.
func (b *SendBatch) Len() int { return b.packets }

// Full says that Add would find no room.
func (b *SendBatch) Full() bool {
	return b.crowded() || b.used+Headroom > arenaLen
}

// crowded says that there is no room for a datagram, head or no head.
func (b *SendBatch) crowded() bool { return b.n == BatchLen || b.parts+3 > maxParts }

// Head lends up to Headroom bytes of the batch, in which to build the head of the next datagram. It panics when the batch
// is full.
func (b *SendBatch) Head(n int) []byte {
	if b.Full() || n > Headroom {
		panic("udp: send batch is full")
	}
	head := b.arena[b.used : b.used+n : b.used+n]
	b.used += n
	return head
}

// Add appends a datagram. It panics when the batch is full.
func (b *SendBatch) Add(data []byte, route Route) { b.AddParts(route, data, nil, 0) }

// zeros pads.
var zeros [4]byte

// AddParts appends a datagram of a head, which Head lent, a body and up to three bytes of padding. It panics when the batch
// is full.
func (b *SendBatch) AddParts(route Route, head, body []byte, padding int) {
	if b.crowded() { // its head is in the arena already
		panic("udp: send batch is full")
	}
	b.packets++
	b.add(route, head, body, zeros[:padding])
}
