package bufpool

import "sync/atomic"

// Stats counts since the start of the process.
type Stats struct {
	Classes  [len(classes)]ClassStats // smallest first
	Oversize uint64                   // requests longer than the largest class: allocated, never pooled
}

// ClassStats counts one size class.
type ClassStats struct {
	Size   int    // body bytes that the class has room for
	Gets   uint64 // buffers lent
	Misses uint64 // of those, how many had to be allocated
}

// counter is one class's, a cache line of 64 bytes apart from the next, so that two cores that use two classes do not
// share a line.
type counter struct {
	gets   atomic.Uint64
	misses atomic.Uint64
	_      [48]byte
}

var counters [len(classes) + 1]counter

// ReadStats copies the counts out. They are not one instant's, each is right by itself.
func ReadStats() Stats {
	var s Stats
	for i, size := range classes {
		s.Classes[i] = ClassStats{
			Size: size - Headroom, Gets: counters[i].gets.Load(), Misses: counters[i].misses.Load(),
		}
	}
	s.Oversize = counters[unpooled].gets.Load()
	return s
}
