package arq

import "time"

const (
	ackAfter = int64(5 * time.Millisecond) // for one packet, in the hope of a second
	seenMost = 256                         // ranges of packet numbers that are remembered
)

// receiver is the half of a stream that comes in. The stream's mu guards it.
type receiver struct {
	held   buffer
	pos    uint64 // what Read has taken
	next   uint64 // what is here without a hole
	got    spans  // what is here beyond next
	end    uint64 // where the stream ends, if hasEnd
	hasEnd bool

	limit   uint64 // how far the peer may send
	window  uint64
	granted bool // limit was raised and not yet said

	seen    spans // packet numbers
	floor   uint64
	pending int   // packets that ask for an acknowledgement
	due     int64 // when it is to be sent; 0: none
	lastAt  int64 // when the highest number came
}

// note remembers a packet's number; false: it has been here.
func (r *receiver) note(p *packet, now int64) bool {
	if p.number < r.floor || r.seen.has(p.number) {
		return false
	}
	inOrder := len(r.seen) == 0 || p.number == r.seen[len(r.seen)-1].hi
	if len(r.seen) == 0 || p.number > r.seen[len(r.seen)-1].hi-1 {
		r.lastAt = now
	}
	r.seen.add(p.number, p.number+1)
	if len(r.seen) > seenMost {
		r.floor = r.seen[1].lo
		r.seen = append(r.seen[:0], r.seen[1:]...)
	}
	if !p.eliciting {
		return true
	}
	r.pending++
	switch {
	case r.pending >= 2 || !inOrder || p.hasFin:
		r.due = now
	case r.due == 0:
		r.due = now + ackAfter
	}
	return true
}

// data takes bytes of the stream; false: the peer must not send them.
func (r *receiver) data(off uint64, b []byte) bool {
	hi := off + uint64(len(b))
	if hi > r.limit || r.hasEnd && hi > r.end {
		return false
	}
	if off < r.next {
		if hi <= r.next {
			return true
		}
		b, off = b[r.next-off:], r.next
	}
	if off == r.next && len(r.got) == 0 {
		r.held.put(off, b)
		r.next = hi
		return true
	}
	if len(r.got) >= maxHoles && off > r.next && off > r.got[len(r.got)-1].hi {
		return true // comes again
	}
	r.held.put(off, b)
	r.got.add(off, hi)
	if r.got[0].lo <= r.next {
		r.next = max(r.next, r.got[0].hi)
		r.got = append(r.got[:0], r.got[1:]...)
	}
	return true
}

// finish takes the stream's end.
func (r *receiver) finish(end uint64) bool {
	beyond := r.next
	if n := len(r.got); n > 0 {
		beyond = r.got[n-1].hi
	}
	if r.hasEnd && end != r.end || end < beyond {
		return false
	}
	r.hasEnd, r.end = true, end
	return true
}

func (r *receiver) atEnd() bool { return r.hasEnd && r.pos == r.end }

func (r *receiver) read(p []byte) int {
	n := int(min(uint64(len(p)), r.next-r.pos))
	if n == 0 {
		return 0
	}
	r.held.get(r.pos, p[:n])
	r.pos += uint64(n)
	r.held.forget(r.pos)
	return n
}

// grant raises the limit when enough was read to be worth a packet.
func (r *receiver) grant() bool {
	if limit := r.pos + r.window; limit-r.limit >= r.window/4 {
		r.limit, r.granted = limit, true
		return true
	}
	return false
}

func (r *receiver) reset() { *r = receiver{pos: r.pos, next: r.pos, hasEnd: r.hasEnd, end: r.end} }
