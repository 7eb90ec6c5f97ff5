package turn

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// strangerBuckets of a shard: 4096 × 16 B = 64 KiB, whatever comes. Two prefixes that meet in one bucket share it; which do
// is random for every process.
const strangerBuckets = 4096

// strangers limits the answers to unauthenticated datagrams, whose source may be somebody else's address. It belongs to a
// shard and is used under its lock.
type strangers struct {
	rate    float64 // answers a second
	burst   float64
	seed    maphash.Seed
	buckets [strangerBuckets]struct {
		tokens float64
		at     int64 // ns when tokens was right
	}
}

func newStrangers(rate int) *strangers {
	s := &strangers{seed: maphash.MakeSeed()}
	s.setRate(rate)
	for i := range s.buckets {
		s.buckets[i].tokens = s.burst
	}
	return s
}

func (s *strangers) setRate(rate int) { s.rate, s.burst = float64(rate), 5*float64(rate) }

// answer says whether this source may have another answer, and counts it.
func (s *strangers) answer(now time.Time, source netip.Addr) bool {
	if source.IsLoopback() {
		return true // cannot be spoofed from outside, and harms only who does it
	}
	b := &s.buckets[maphash.Comparable(s.seed, neighbourhood(source))%strangerBuckets]
	at := now.UnixNano()
	b.tokens = min(s.burst, b.tokens+s.rate*float64(max(0, at-b.at))/1e9)
	b.at = at
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// allowStranger is answer, under the lock.
func (sh *shard) allowStranger(now time.Time, source netip.Addr) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.strangers.answer(now, source)
}

// neighbourhood is a prefix that is commonly one party's: an IPv4 /24, an IPv6 /56.
func neighbourhood(ip netip.Addr) netip.Prefix {
	length := 24
	if ip.Is6() {
		length = 56
	}
	prefix, _ := ip.WithZone("").Prefix(length) // cannot fail: the length fits the family
	return prefix
}

// doorman counts open TCP connections and those among them that are not yet authenticated.
type doorman struct {
	mu                       sync.Mutex // guards the fields below
	maxStreams, maxStrangers int
	streams                  int
	strangers                int
	near                     map[netip.Prefix]int // strangers by neighbourhood
}

func newDoorman(maxStreams, maxStrangers int) *doorman {
	return &doorman{maxStreams: maxStreams, maxStrangers: maxStrangers, near: make(map[netip.Prefix]int)}
}

// enter counts a new connection, as a stranger's, or says that it has to be closed.
func (d *doorman) enter(from netip.Addr) bool {
	prefix := neighbourhood(from)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.streams >= d.maxStreams || d.strangers >= d.maxStrangers || d.near[prefix] >= max(1, d.maxStrangers/4) {
		return false
	}
	d.streams++
	d.strangers++
	d.near[prefix]++
	return true
}

// known counts a stranger no longer as one.
func (d *doorman) known(from netip.Addr) {
	prefix := neighbourhood(from)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.strangers--
	if d.near[prefix]--; d.near[prefix] <= 0 {
		delete(d.near, prefix)
	}
}

// leave counts a connection no longer, which known was called for.
func (d *doorman) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.streams--
}

// setMax changes how many there may be.
func (d *doorman) setMax(streams, strangers int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.maxStreams, d.maxStrangers = streams, strangers
}

func (d *doorman) counts() (streams, strangers int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.streams, d.strangers
}
