package load

import (
	"math/bits"
	"time"
)

// histogram counts times in buckets that are each 1/16 wide, or 6 %: 64 powers of two of 16 buckets, 8 KiB.
type histogram struct {
	count [64 * 16]uint64
	max   time.Duration
}

func bucket(d time.Duration) int {
	if d < 16 {
		return int(max(d, 0))
	}
	power := bits.Len64(uint64(d)) - 5 // d>>power is 16 to 31
	return (power+1)*16 + int(d>>power) - 16
}

// least is the shortest time of a bucket.
func least(i int) time.Duration {
	if i < 16 {
		return time.Duration(i)
	}
	return time.Duration(16+i%16) << (i/16 - 1)
}

func (h *histogram) add(d time.Duration) {
	h.count[bucket(d)]++
	h.max = max(h.max, d)
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.count {
		h.count[i] += n
	}
	h.max = max(h.max, o.max)
}

// quantile returns a time that q of all are not above, to a sixteenth.
func (h *histogram) quantile(q float64) time.Duration {
	total := uint64(0)
	for _, n := range h.count {
		total += n
	}
	rank, seen := uint64(q*float64(total)), uint64(0)
	for i, n := range h.count {
		if seen += n; seen > rank || n > 0 && seen == total {
			return min(least(i+1), h.max)
		}
	}
	return 0
}

// Latency is percentiles, in milliseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

func (h *histogram) latency() Latency {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
	return Latency{ms(h.quantile(0.5)), ms(h.quantile(0.9)), ms(h.quantile(0.99)), ms(h.quantile(0.999)), ms(h.max)}
}
