package mux

import (
	"testing"
	"time"
)

// TestSpeed: a link that takes its time for a while is slow, one that only slept once is not for long, and one on which little
// is written never becomes slow.
func TestSpeed(t *testing.T) {
	const slowWrite = time.Second * maxBatch / slowRate * 2
	l := new(link)
	step := func(what string, n int, took time.Duration, rate float64, want int) {
		t.Helper()
		l.speed.wrote(n, took, rate)
		if got := l.most(); got != want {
			t.Errorf("%s: writes of up to %d bytes, want %d", what, got, want)
		}
	}
	step("at first", 0, 0, 0, maxBatch)
	step("a short one, slowly", 100, time.Second/100, 0, maxBatch)
	l.speed = speed{}
	step("a full one, slowly", maxBatch, slowWrite, 0, slowBatch)
	for range slowSpan/slowBatch - 1 {
		step("not yet judged again", slowBatch, 0, 0, slowBatch)
	}
	step("fast again", slowBatch, 0, 0, maxBatch)
	step("quickly, since courtesy waited before it", maxBatch, 0, slowRate/2, slowBatch)
	for range slowSpan / slowBatch {
		l.speed.wrote(slowBatch, 0, 2*slowRate)
	}
	step("courtesy says that it is fast", 0, 0, 2*slowRate, maxBatch)
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
