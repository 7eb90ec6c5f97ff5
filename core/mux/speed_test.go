package mux

import (
	"testing"
	"time"
)

// TestSpeed: a link that takes its time for a while is slow, one that only slept once is not for long, and one on which little
// is written never becomes slow.
func TestSpeed(t *testing.T) {
	const slowWrite = time.Second * maxBatch / slowRate * 2
	var v speed
	step := func(what string, n int, took time.Duration, want int) {
		t.Helper()
		v.wrote(n, took)
		if got := v.most(); got != want {
			t.Errorf("%s: writes of up to %d bytes, want %d", what, got, want)
		}
	}
	step("at first", 0, 0, maxBatch)
	step("a short one, slowly", 100, time.Second/100, maxBatch)
	v = speed{}
	step("a full one, slowly", maxBatch, slowWrite, slowBatch)
	for range slowSpan/slowBatch - 1 {
		step("not yet judged again", slowBatch, 0, slowBatch)
	}
	step("fast again", slowBatch, 0, maxBatch)
}

// TestSlowBatches: what is gathered on a slow link is short, and behind it there is room again.
func TestSlowBatches(t *testing.T) {
	var g gather
	g.begin(1<<20, slowBatch)
	defer g.drop()
	if got := g.room(); got != slowBatch {
		t.Errorf("room of %d bytes, want %d", got, slowBatch)
	}
	g.wrote(append(g.tail(), make([]byte, slowBatch)...))
	g.keep = g.end
	g.begin(1<<20, maxBatch)
	if got := g.room(); got != maxBatch-slowBatch {
		t.Errorf("room of %d bytes behind it, want %d", got, maxBatch-slowBatch)
	}
}
