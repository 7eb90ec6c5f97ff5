package arq

import "encoding/binary"

// A packet is its number (6 bytes) and frames until its end. Numbers are in network order. docs/protocol/udp.md
const (
	frameData   = 0x01 // offset (6), bytes to the end of the packet
	frameAck    = 0x02 // highest number (6), its delay in 16 µs (2), count of ranges n >= 1 (1), length of the first (4), then n-1 times: gap (4), length (4)
	frameWindow = 0x03 // offset up to which the peer may send (6)
	frameFin    = 0x04 // offset at which the stream ends (6)
	frameClose  = 0x05 // the stream is over in both directions
	framePing   = 0x06 // to be acknowledged
	framePad    = 0x07 // the rest of the packet means nothing

	numberLen  = 6
	dataHeader = numberLen + 1 + 6
	ackUnit    = 16 // µs
	maxNumber  = 1<<48 - 1
)

// packet is a parsed packet. data and spans lie in the parser's memory.
type packet struct {
	number uint64
	eliciting, closed,
	hasData, hasFin, hasWindow bool
	offset, fin, window uint64
	data                []byte
	ackDelay            uint32 // in units of ackUnit
	acks                []span // highest first
}

func u48(b []byte) uint64 {
	return uint64(binary.BigEndian.Uint16(b))<<32 | uint64(binary.BigEndian.Uint32(b[2:]))
}

func appendU48(dst []byte, v uint64) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(dst, uint16(v>>32)), uint32(v))
}

// parse reads a packet; false: it is not one. p keeps the memory of its acks.
func (p *packet) parse(b []byte) bool {
	*p = packet{acks: p.acks[:0]}
	if len(b) < numberLen+1 {
		return false
	}
	p.number, b = u48(b), b[numberLen:]
	for len(b) > 0 {
		kind := b[0]
		b = b[1:]
		need := map48[kind&7]
		if kind > framePad || kind == 0 || len(b) < need {
			return false
		}
		switch kind {
		case frameData:
			if len(b) == need {
				return false
			}
			p.hasData, p.eliciting, p.offset, p.data = true, true, u48(b), b[need:]
			return p.offset+uint64(len(p.data)) <= maxNumber
		case frameWindow:
			p.hasWindow, p.eliciting, p.window = true, true, max(p.window, u48(b))
		case frameFin:
			p.hasFin, p.eliciting, p.fin = true, true, u48(b)
		case frameClose:
			p.closed = true
		case framePing:
			p.eliciting = true
		case framePad:
			return true
		case frameAck:
			var ok bool
			if b, ok = p.parseAck(b); !ok {
				return false
			}
			continue
		}
		b = b[need:]
	}
	return true
}

// map48 is the least that follows a frame's type.
var map48 = [8]int{frameData: 6, frameAck: 6 + 2 + 1 + 4, frameWindow: 6, frameFin: 6}

func (p *packet) parseAck(b []byte) (rest []byte, ok bool) {
	high, n := u48(b), int(b[8])
	p.ackDelay = uint32(binary.BigEndian.Uint16(b[6:]))
	length := uint64(binary.BigEndian.Uint32(b[9:]))
	b = b[13:]
	if len(p.acks) > 0 || n < 1 || n > maxAckRange || length < 1 || length > high+1 || len(b) < 8*(n-1) {
		return nil, false
	}
	low := high + 1 - length
	p.acks = append(p.acks, span{low, high + 1})
	for range n - 1 {
		gap, length := uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
		b = b[8:]
		if gap < 1 || length < 1 || gap+length > low {
			return nil, false
		}
		hi := low - gap
		low = hi - length
		p.acks = append(p.acks, span{low, hi})
	}
	return b, true
}

// appendAck appends an ACK of the highest ranges of seen, as many as fit into room bytes; nothing if seen is empty.
func appendAck(dst []byte, seen spans, delay uint32, room int) []byte {
	n := min(len(seen), maxAckRange, 1+(room-14)/8)
	if n < 1 || room < 14 {
		return dst
	}
	top := seen[len(seen)-1]
	dst = appendU48(append(dst, frameAck), top.hi-1)
	dst = binary.BigEndian.AppendUint16(dst, uint16(min(delay, 0xffff)))
	dst = binary.BigEndian.AppendUint32(append(dst, byte(n)), uint32(min(top.hi-top.lo, 0xffffffff)))
	for i := len(seen) - 2; i >= len(seen)-n; i-- {
		dst = binary.BigEndian.AppendUint32(dst, uint32(seen[i+1].lo-seen[i].hi))
		dst = binary.BigEndian.AppendUint32(dst, uint32(seen[i].hi-seen[i].lo))
	}
	return dst
}
