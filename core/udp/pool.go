package udp

import "sync"

const (
	// BatchLen is how many datagrams one system call moves at most. More gained nothing in measurements, and 64 of an
	// ordinary size still fit the second-level cache.
	BatchLen = 64
	// Headroom in front of a received packet: 20 (STUN header) + 4 + 20 (IPv6 peer address) + 4 (DATA header) = 48,
	// rounded up to a cache line.
	Headroom = 64
	// Tailroom behind a received packet, for padding to a multiple of four.
	Tailroom = 8
	// MaxPacket is the longest datagram: nothing is ever cut. A slot's untouched pages cost nothing, so short packets
	// occupy one page of 4 KiB each.
	MaxPacket = 65535

	// stride is odd in cache lines, so that the slots' heads do not fall on the same cache sets.
	stride = Headroom + MaxPacket + 1 + Tailroom + 56

	// poolKeep is how many idle batches a Pool keeps: as many as there can be goroutines between Recv and Put on the
	// machines we know; more are left to the collector. 16 × 64 packets of one page are 4 MiB.
	poolKeep = 16
)

// Pool lends batches to receivers. Safe for concurrent use.
type Pool struct {
	mu   sync.Mutex // guards idle
	idle []*RecvBatch
}

// NewPool returns an empty pool; batches are made as they are needed.
func NewPool() *Pool { return &Pool{idle: make([]*RecvBatch, 0, poolKeep)} }

func (p *Pool) get() *RecvBatch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		b := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return b
	}
	return newRecvBatch()
}

// Put takes back what Recv lent; the packets in it are no longer valid.
func (p *Pool) Put(b *RecvBatch) {
	b.n = 0
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) < poolKeep {
		p.idle = append(p.idle, b)
	}
}
