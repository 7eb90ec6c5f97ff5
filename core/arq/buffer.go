package arq

import "sync"

const chunkLen = 64 << 10

type chunk [chunkLen]byte

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// buffer holds a part of a stream by its offsets, in chunks that exist where there is something.
type buffer struct {
	base uint64   // offset of the first chunk's first byte, a multiple of chunkLen
	list []*chunk // nil: nothing there yet
}

// put copies p to offset off, which is not below base.
func (b *buffer) put(off uint64, p []byte) {
	for len(p) > 0 {
		at := off - b.base
		i, in := int(at/chunkLen), int(at%chunkLen)
		for len(b.list) <= i {
			b.list = append(b.list, nil)
		}
		if b.list[i] == nil {
			b.list[i] = chunks.Get().(*chunk)
		}
		n := copy(b.list[i][in:], p)
		p, off = p[n:], off+uint64(n)
	}
}

// get copies what is at off to p.
func (b *buffer) get(off uint64, p []byte) {
	for len(p) > 0 {
		at := off - b.base
		n := copy(p, b.list[at/chunkLen][at%chunkLen:])
		p, off = p[n:], off+uint64(n)
	}
}

// appendTo appends n bytes from off to dst.
func (b *buffer) appendTo(dst []byte, off uint64, n int) []byte {
	at := len(dst)
	dst = dst[:at+n]
	b.get(off, dst[at:])
	return dst
}

// forget gives back what lies whole below off.
func (b *buffer) forget(off uint64) {
	for off >= b.base+chunkLen {
		if len(b.list) > 0 {
			if b.list[0] != nil {
				chunks.Put(b.list[0])
			}
			copy(b.list, b.list[1:])
			b.list[len(b.list)-1] = nil
			b.list = b.list[:len(b.list)-1]
		}
		b.base += chunkLen
	}
}

// drop gives back all.
func (b *buffer) drop() {
	for _, c := range b.list {
		if c != nil {
			chunks.Put(c)
		}
	}
	b.list = nil
}
