package mux

import (
	"testing"
	"time"
)

// TestCourtesy plays a bulk channel over a link with a queue, as TCP serves it, while somebody waits for short messages, and
// looks at what stands in front of those and at how much of the link is used.
func TestCourtesy(t *testing.T) {
	for _, c := range []struct {
		name    string
		rate    float64       // bytes a second
		trip    time.Duration // without the queue
		foreign time.Duration // that others' bytes keep standing in the queue
		wait    time.Duration // the most that may stand before a message, in the end
		used    float64       // of the link, at least
		rests   bool
	}{
		{"20 Mbit/s, near", 2.5e6, 300 * time.Microsecond, 0, 10 * time.Millisecond, 0.9, false},
		{"2 Mbit/s, near: 16 ms a write", 250e3, 2 * time.Millisecond, 0, 40 * time.Millisecond, 0.9, true},
		{"20 Mbit/s, far", 2.5e6, 80 * time.Millisecond, 0, 12 * time.Millisecond, 0.85, false},
		{"60 Mbit/s, far", 7.5e6, 150 * time.Millisecond, 0, 12 * time.Millisecond, 0.85, false},
		{"a queue that is not ours", 2.5e6, 10 * time.Millisecond, 80 * time.Millisecond, time.Second, 0.6, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			const tick = 100 * time.Microsecond
			kernel := c.rate*(c.trip+c.foreign).Seconds() + 256<<10 // more than the path holds
			l := &link{speed: speed{slow: true}}
			var written, left, acked float64 // by the writer; by the queue; known as such
			var hold, worst time.Duration
			var history []float64
			rested := false
			late := int((c.trip + c.foreign) / tick)
			var base float64
			for now := tick; now < 24*time.Second; now += tick {
				left = min(written, left+c.rate*tick.Seconds())
				history = append(history, left)
				if at := len(history) - 1 - late; at >= 0 {
					acked = history[at]
				}
				standing := time.Duration((written - left) / c.rate * float64(time.Second))
				if now > 12*time.Second {
					worst = max(worst, standing)
				} else {
					base = left
				}
				l.courtesy.ask(now)
				if now < hold {
					continue
				}
				f := flight{acked: uint64(acked), ahead: int(written - acked), rtt: c.trip + c.foreign + standing, minRTT: c.trip}
				if l.courtesy.wanted(now, true) {
					if wait := l.courtesy.wait(now, f); wait > 0 {
						hold = now + wait
						continue
					}
				} else {
					rested = true
				}
				if written-acked < kernel {
					written += float64(l.most())
				}
			}
			used := (left - base) / (c.rate * 12)
			t.Logf("%v before a message, %.0f %% used", worst.Round(time.Millisecond), 100*used)
			if worst > c.wait {
				t.Errorf("%v stood before a message, want %v at most", worst, c.wait)
			}
			if used < c.used {
				t.Errorf("%.0f %% of the link used, want %.0f", 100*used, 100*c.used)
			}
			if rested != c.rests {
				t.Errorf("it rested: %v, want %v", rested, c.rests)
			}
		})
	}
}

// TestCourtesyEnds: it is for slow links on which somebody waits, and learns anew each time.
func TestCourtesyEnds(t *testing.T) {
	var c courtesy
	if c.wanted(time.Second, true) {
		t.Error("wanted before anybody waited for a message")
	}
	c.ask(time.Second)
	if !c.wanted(2*time.Second, true) {
		t.Error("not wanted after a message")
	}
	c.rate, c.since = 1e6, time.Second
	if c.wanted(2*time.Second, false) || c.rate != 0 || c.since != 0 {
		t.Error("wanted on a fast link, or what was learned has been kept")
	}
	if c.wanted(time.Second+courtesyLasts, true) {
		t.Error("wanted long after the last message")
	}
}
