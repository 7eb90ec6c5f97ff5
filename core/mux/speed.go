package mux

import "time"

// speed is what a link takes. Whatever is in a write goes before everything that comes later, however urgent, so on a slow
// link writes are short: slowBatch at 20 Mbit/s are 7 ms, maxBatch 26 ms. Only the writer uses it.
type speed struct {
	slow  bool
	bytes int
	busy  time.Duration // in Write, with those
}

const (
	slowBatch = 16 << 10 // bytes: one full TLS record
	slowSpan  = 64 << 10 // bytes after which it is judged
	slowRate  = 10 << 20 // bytes a second below which a link is slow: maxBatch then takes 6 ms and more
)

// wrote notes a write, which lasts as long as the link has no room, unless courtesy has waited before it: then the rate that
// courtesy has measured says more; 0 is none.
func (v *speed) wrote(n int, took time.Duration, rate float64) {
	v.bytes += n
	v.busy += took
	if v.bytes >= slowSpan {
		v.slow = v.busy > time.Duration(v.bytes)*time.Second/slowRate || rate > 0 && rate < slowRate
		v.bytes, v.busy = 0, 0
	}
}
