package mint

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

const (
	// buckets of wrong tokens: 1,024 × 16 B, whatever comes. Two networks that meet in one share it.
	buckets = 1024
	// guesses a minute that a network has.
	guesses = 10
)

// limits bound how often we answer, and how often somebody guesses. The zero value is ready.
type limits struct {
	mu    sync.Mutex // guards the fields below
	all   bucket
	wrong [buckets]bucket
}

// bucket is what was spent, and when that was right. The zero value has spent nothing.
type bucket struct {
	spent float64
	at    time.Time
}

// drain lets out what has been spent, at a rate a second.
func (b *bucket) drain(now time.Time, rate float64) {
	b.spent = max(0, b.spent-rate*max(0, now.Sub(b.at).Seconds()))
	b.at = now
}

// take says whether there may be another request.
func (l *limits) take(now time.Time, rate int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.drain(now, float64(rate))
	if l.all.spent+1 > 5*float64(rate) {
		return false
	}
	l.all.spent++
	return true
}

// guess counts a wrong token, and says whether its network may have another one.
func (l *limits) guess(now time.Time, from netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.of(from)
	b.drain(now, guesses/60.)
	if b.spent+1 > guesses {
		return false
	}
	b.spent++
	return true
}

var seed = maphash.MakeSeed()

// of returns the bucket of an IPv4 /24 or IPv6 /56. Its lock is held.
func (l *limits) of(from netip.Addr) *bucket {
	from, length := from.Unmap().WithZone(""), 24
	if from.Is6() {
		length = 56
	}
	prefix, _ := from.Prefix(length) // cannot fail: the length fits the family
	return &l.wrong[maphash.Comparable(seed, prefix)%buckets]
}
