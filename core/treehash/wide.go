package treehash

import (
	"encoding/binary"
	"math/bits"
)

const (
	leafSize  = 8192            // bytes of a leaf
	groupSize = 8 * leafSize    // of leaves that are hashed side by side
	rate      = 168             // bytes that a state takes before it is permuted (TurboSHAKE128)
	whole     = leafSize / rate // full blocks of a leaf
	rest      = leafSize % rate // bytes behind them
)

// Domains: what kind of node a sponge was (RFC 9861 §3.2).
const (
	domainLeaf   = 0x0b
	domainFinal  = 0x06 // of several leaves
	domainSingle = 0x07 // of one
)

// wide is KangarooTwelve with eight leaves side by side.
type wide struct {
	custom []byte
	stalk  sponge
	first  int   // bytes of the first leaf that have come: it is the stalk's
	leaves int64 // others whose digests are in the stalk
	buf    *[groupSize]byte
	n      int // bytes in buf
	states [25][8]uint64
}

func newWide(custom []byte) *wide { return &wide{custom: custom} }

func (w *wide) reset() {
	w.stalk.reset()
	w.first, w.leaves, w.n = 0, 0, 0
}

func (w *wide) write(p []byte) {
	if n := min(leafSize-w.first, len(p)); n > 0 {
		w.stalk.write(p[:n])
		w.first += n
		p = p[n:]
	}
	if len(p) == 0 {
		return
	}
	if w.leaves == 0 && w.n == 0 {
		w.stalk.write([]byte{3, 0, 0, 0, 0, 0, 0, 0})
	}
	if w.n > 0 {
		n := copy(w.buf[w.n:], p)
		w.n += n
		p = p[n:]
		if w.n < groupSize {
			return
		}
		w.group(w.buf[:], 8)
		w.n = 0
	}
	for ; len(p) >= groupSize; p = p[groupSize:] {
		w.group(p, 8)
	}
	if len(p) > 0 {
		if w.buf == nil {
			w.buf = new([groupSize]byte)
		}
		w.n = copy(w.buf[:], p)
	}
}

// group hashes eight leaves, and takes the digests of the first n.
func (w *wide) group(p []byte, n int) {
	_ = p[groupSize-1]
	w.states = [25][8]uint64{}
	absorb8(&w.states, &p[0], whole)
	for i := range 8 {
		w.states[rest/8][i] ^= domainLeaf
		w.states[rate/8-1][i] ^= 1 << 63
	}
	permute8(&w.states)
	var cv [32]byte
	for i := range n {
		for k := range 4 {
			binary.LittleEndian.PutUint64(cv[8*k:], w.states[k][i])
		}
		w.stalk.write(cv[:])
	}
	w.leaves += int64(n)
}

func (w *wide) sum() [Size]byte {
	var length [9]byte
	w.write(w.custom)
	w.write(appendLength(length[:0], uint64(len(w.custom))))
	if w.leaves == 0 && w.n == 0 {
		return w.stalk.sum(domainSingle)
	}
	full := w.n / leafSize
	if full > 0 {
		w.group(w.buf[:], full)
	}
	if w.n > full*leafSize {
		var leaf sponge
		leaf.write(w.buf[full*leafSize : w.n])
		cv := leaf.sum(domainLeaf)
		w.stalk.write(cv[:])
		w.leaves++
	}
	w.stalk.write(appendLength(length[:0], uint64(w.leaves)))
	w.stalk.write([]byte{0xff, 0xff})
	return w.stalk.sum(domainFinal)
}

// appendLength encodes a number: its bytes, the highest first, and how many they are (RFC 9861 §3.3, length_encode).
func appendLength(b []byte, n uint64) []byte {
	size := (bits.Len64(n) + 7) / 8
	for i := size - 1; i >= 0; i-- {
		b = append(b, byte(n>>(8*i)))
	}
	return append(b, byte(size))
}

// A sponge is TurboSHAKE128. It is the first of eight states, the rest of which nobody looks at: permuting eight takes no longer
// than one would.
type sponge struct {
	states [25][8]uint64
	n      int // bytes since the last permutation
}

func (s *sponge) reset() { *s = sponge{} }

func (s *sponge) write(p []byte) {
	for len(p) > 0 {
		if s.n%8 == 0 && len(p) >= 8 {
			s.states[s.n/8][0] ^= binary.LittleEndian.Uint64(p)
			s.n, p = s.n+8, p[8:]
		} else {
			s.states[s.n/8][0] ^= uint64(p[0]) << (8 * (s.n % 8))
			s.n, p = s.n+1, p[1:]
		}
		if s.n == rate {
			permute8(&s.states)
			s.n = 0
		}
	}
}

func (s *sponge) sum(domain byte) (d [Size]byte) {
	s.states[s.n/8][0] ^= uint64(domain) << (8 * (s.n % 8))
	s.states[rate/8-1][0] ^= 1 << 63
	permute8(&s.states)
	for k := range Size / 8 {
		binary.LittleEndian.PutUint64(d[8*k:], s.states[k][0])
	}
	return d
}
