package bufpool

import (
	"sync"
	"sync/atomic"
)

// Headroom is the room in front of a fresh body, in bytes: 4 (frame header) + 36 (Send indication: 20 header, 4 + 8
// peer address, 4 data; 12 more with IPv6) rounded up to a cache line.
const Headroom = 64

// classes are the storage sizes, headroom included: the size classes of Go's allocator (runtime/sizeclasses.go; above
// 32 KiB whole pages of 8 KiB) that 512, 2048, 4096, 16384 and 65536 bytes of body plus the headroom land in.
var classes = [...]int{576, 2304, 4864, 18432, 73728}

// unpooled is the class of a buffer longer than the largest class.
const unpooled = len(classes)

// Buf is a borrowed buffer. Its zero value is not useful; Get lends one.
type Buf struct {
	mem   []byte       // the whole storage
	start int          // the body is mem[start:end]
	end   int          //
	class int          // index into classes, or unpooled
	refs  atomic.Int32 // holders
	debug debugState   // empty without the tag bufdebug
}

// pools[i] has free buffers of classes[i].
var pools [len(classes)]sync.Pool

// Get lends a buffer with a body of n bytes of arbitrary content and Headroom bytes in front of it. The caller is its
// sole holder and must Release it. It panics when n is negative.
func Get(n int) *Buf {
	if n < 0 {
		panic("bufpool: negative length")
	}
	class := classFor(n)
	counters[class].gets.Add(1)
	var b *Buf
	if class != unpooled {
		b, _ = pools[class].Get().(*Buf)
	}
	if b == nil {
		counters[class].misses.Add(1)
		b = allocate(class, n)
	}
	b = lend(b)
	b.start, b.end = Headroom, Headroom+n
	b.refs.Store(1)
	return b
}

// classFor returns the smallest class whose body has n bytes.
func classFor(n int) int {
	for i, size := range classes {
		if n <= size-Headroom {
			return i
		}
	}
	return unpooled
}

// allocate makes a buffer of the class, or, when there is none, of n bytes of body.
func allocate(class, n int) *Buf {
	size := Headroom + n
	if class != unpooled {
		size = classes[class]
	}
	return &Buf{mem: make([]byte, size), class: class}
}

// Bytes returns the body. It is valid until the holder's Release, and until the next Prepend, Trim or SetLen describes
// the body as it was. Its capacity ends with the body, so an append cannot run into a neighbour.
func (b *Buf) Bytes() []byte {
	b.debug.checkHeld(b)
	return b.mem[b.start:b.end:b.end]
}

// Len returns the length of the body in bytes.
func (b *Buf) Len() int {
	b.debug.checkHeld(b)
	return b.end - b.start
}

// Cap returns the largest length that SetLen takes: the body may grow to the end of the storage.
func (b *Buf) Cap() int {
	b.debug.checkHeld(b)
	return len(b.mem) - b.start
}

// Prepend grows the body by n bytes at its front and returns those n bytes, of arbitrary content, for the caller to
// fill. It panics when there is less room in front. Only the sole holder may call it.
func (b *Buf) Prepend(n int) []byte {
	b.debug.checkSole(b)
	if n < 0 || n > b.start {
		panic("bufpool: prepend beyond the headroom")
	}
	b.start -= n
	return b.mem[b.start : b.start+n : b.start+n]
}

// Trim takes front bytes off the front of the body; they become headroom. It panics when the body is shorter. Only
// the sole holder may call it.
func (b *Buf) Trim(front int) {
	b.debug.checkSole(b)
	if front < 0 || front > b.end-b.start {
		panic("bufpool: trim beyond the body")
	}
	b.start += front
}

// SetLen makes the body n bytes long by moving its end: shorter after a read that did not fill it, longer up to Cap. It
// panics outside of that. Only the sole holder may call it.
func (b *Buf) SetLen(n int) {
	b.debug.checkSole(b)
	if n < 0 || n > len(b.mem)-b.start {
		panic("bufpool: length beyond the storage")
	}
	b.end = b.start + n
}

// Retain adds a holder and returns b, so that it reads as the hand-over that it is: q.push(b.Retain()). From then on
// every holder only reads, until all but one have released.
func (b *Buf) Retain() *Buf {
	b.debug.checkHeld(b)
	if b.refs.Add(1) <= 1 {
		panic("bufpool: retained after release")
	}
	return b
}

// Release ends the caller's hold. After the last one the memory may be lent again at once: neither b nor any slice of
// it may be used. A nil Buf may be released. It panics when there is no hold left.
func (b *Buf) Release() {
	if b == nil {
		return
	}
	b.debug.checkHeld(b)
	switch left := b.refs.Add(-1); {
	case left > 0:
		return
	case left < 0:
		panic("bufpool: released twice")
	}
	b.debug.retire(b)
	if b.class != unpooled {
		pools[b.class].Put(b)
	}
}
