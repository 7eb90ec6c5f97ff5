package push

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// rate is how many a second, and how many at once.
type rate struct{ second, burst float64 }

// bucket counts against a rate. The zero value is full.
type bucket struct {
	used float64 // of the burst
	at   time.Time
}

// take counts one, or says that there is none left.
func (b *bucket) take(r rate, now time.Time) bool {
	if d := now.Sub(b.at); d > 0 {
		b.used, b.at = max(0, b.used-r.second*min(d.Seconds(), 3600)), now
	}
	if b.used > r.burst-1 {
		return false
	}
	b.used++
	return true
}

// sources are buckets of addresses, a fixed number of them: nothing grows with who comes. Used under the Hub's lock.
type sources struct {
	seed    maphash.Seed
	buckets [sourceSlots]bucket
}

// Enter says whether an address may begin another handshake.
func (h *Hub) Enter(source netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.arrivals.take(enterRate, time.Now(), source) {
		return true
	}
	h.stats.limited.Add(1)
	return false
}

func newSources() *sources { return &sources{seed: maphash.MakeSeed()} }

func (s *sources) take(r rate, now time.Time, source netip.Addr) bool {
	length := 24
	if source.Is6() {
		length = 56
	}
	prefix, _ := source.WithZone("").Prefix(length) // an address that is none is one source
	return s.buckets[maphash.Comparable(s.seed, prefix)%sourceSlots].take(r, now)
}
