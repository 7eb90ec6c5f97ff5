package mux

import (
	"testing"
	"time"
)

// TestPace plays a channel on a path of a kind and looks at where its window ends up.
func TestPace(t *testing.T) {
	const start, most = 256 << 10, 16 << 20
	for _, c := range []struct {
		name   string
		trip   time.Duration
		rate   float64       // bytes a second that the path brings
		asleep time.Duration // the reader wakes this often, and reads all in no time; 0: at once
		least  uint64
		most   uint64
	}{
		{"long and fast", 100 * time.Millisecond, 1e9, 0, most, most},
		{"long and slow", 100 * time.Millisecond, 1e6, 0, start, start},
		{"long, 20 MB/s: two to four round trips' worth", 100 * time.Millisecond, 20e6, 0, 4 << 20, 8 << 20},
		{"no way at all, as fast as memory", 50 * time.Microsecond, 2e9, 0, 512 << 10, 1 << 20},
		{"the same, and a reader that wakes late and reads a backlog", 50 * time.Microsecond, 2e9, 10 * time.Millisecond, start, 1 << 20},
		{"a round trip that nobody has measured", 0, 1e7, 0, start, start},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newRecvWindow(start)
			var p pace
			const tick = 20 * time.Microsecond
			var sent []uint64 // what the peer's limit was, a tick each
			came := 0.0
			for now := tick; now < 3*time.Second; now += tick {
				sent = append(sent, w.limit)
				known := uint64(start)
				if late := len(sent) - 1 - int(c.trip/tick); late >= 0 {
					known = sent[late] // the peer hears late
				}
				came = min(came+c.rate*tick.Seconds(), float64(known))
				w.receive(int(uint64(came) - w.received))
				if c.asleep > 0 && now%c.asleep != 0 {
					continue
				}
				w.consume(int(w.received - w.consumed))
				if w.due() {
					if p.short(&w, now, c.trip) {
						w.size = min(2*w.size, most)
					}
					w.announce()
				}
			}
			if w.size < c.least || w.size > c.most {
				t.Errorf("window of %d KiB, want %d to %d", w.size>>10, c.least>>10, c.most>>10)
			}
		})
	}
}
