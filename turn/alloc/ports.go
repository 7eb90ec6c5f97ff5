package alloc

import "math/bits"

// Ports knows which ports of one relay address and protocol are taken: one bit a port, 8 KiB for all 65,536.
//
// Where a search begins is the caller's random number, so that a stranger cannot foretell the next port (RFC 6056; the
// guessable ports of CVE-2025-69217).
type Ports struct {
	low  int
	size int
	used int
	bits []uint64 // bit i: port low+i is taken
}

// NewPorts manages the ports from low to high, both included. It panics unless 0 < low <= high.
func NewPorts(low, high uint16) *Ports {
	if low == 0 || low > high {
		panic("alloc: empty port range")
	}
	size := int(high) - int(low) + 1
	return &Ports{low: int(low), size: size, bits: make([]uint64, (size+63)/64)}
}

// Used returns how many ports are taken.
func (p *Ports) Used() int { return p.used }

// Take takes the first free port at or after a random place.
func (p *Ports) Take(random uint64) (uint16, bool) {
	return p.search(random, 1, func(i int) bool { return !p.taken(i) })
}

// TakeEven takes an even port: EVEN-PORT with R=0. Its partner stays free.
func (p *Ports) TakeEven(random uint64) (uint16, bool) {
	return p.search(random, 1, func(i int) bool { return p.even(i) && !p.taken(i) })
}

// TakePair takes an even port and the next: EVEN-PORT with R=1. It returns the even one.
func (p *Ports) TakePair(random uint64) (uint16, bool) {
	return p.search(random, 2, func(i int) bool {
		return p.even(i) && i+1 < p.size && !p.taken(i) && !p.taken(i+1)
	})
}

// Release makes a taken port free again.
func (p *Ports) Release(port uint16) {
	i := int(port) - p.low
	if i < 0 || i >= p.size || !p.taken(i) {
		return
	}
	p.bits[i/64] &^= 1 << (i % 64)
	p.used--
}

func (p *Ports) search(random uint64, width int, fits func(int) bool) (uint16, bool) {
	hi, _ := bits.Mul64(random, uint64(p.size)) // an unbiased place: random / 2^64 × size
	begin := int(hi)
	for n := range p.size {
		i := begin + n
		if i >= p.size {
			i -= p.size
		}
		if !fits(i) {
			continue
		}
		for j := i; j < i+width; j++ {
			p.bits[j/64] |= 1 << (j % 64)
		}
		p.used += width
		return uint16(p.low + i), true
	}
	return 0, false
}

func (p *Ports) taken(i int) bool { return p.bits[i/64]&(1<<(i%64)) != 0 }

func (p *Ports) even(i int) bool { return (p.low+i)%2 == 0 }
