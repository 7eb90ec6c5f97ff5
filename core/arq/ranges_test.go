package arq

import (
	"math/rand/v2"
	"testing"
)

// Spans agree with a set of bits.
func TestSpans(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var s spans
		var bits [64]bool
		for range 30 {
			lo := r.IntN(64)
			hi := lo + r.IntN(64-lo+1)
			cut := r.IntN(3) == 0
			for i := lo; i < hi; i++ {
				bits[i] = !cut
			}
			if cut {
				s.cut(uint64(lo), uint64(hi))
			} else {
				s.add(uint64(lo), uint64(hi))
			}
			for i, want := range bits {
				if got := s.has(uint64(i)); got != want {
					t.Fatalf("%v has %d = %v, want %v", s, i, got, want)
				}
			}
			for i := range s {
				if s[i].lo >= s[i].hi || i > 0 && s[i].lo <= s[i-1].hi {
					t.Fatalf("%v is not in order", s)
				}
			}
		}
	}
}
