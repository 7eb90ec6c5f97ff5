package alloc

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever is armed, moved and disarmed: a timer fires once, never early, at most a second late.
func TestWheelFiresOnTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	now := begin
	w := newWheel(now)
	due := make(map[*timer]time.Time)
	timers := make([]timer, 50)
	for range 20_000 {
		tm := &timers[rng.IntN(len(timers))]
		switch rng.IntN(4) {
		case 0, 1:
			at := now.Add(time.Duration(rng.Int64N(int64(time.Hour))))
			w.arm(tm, at)
			due[tm] = at
		case 2:
			w.disarm(tm)
			delete(due, tm)
		case 3:
			now = now.Add(time.Duration(rng.Int64N(int64(3 * time.Minute))))
			w.advance(now, func(fired *timer) {
				at, armed := due[fired]
				if !armed || now.Before(at) {
					t.Fatalf("fired at %v, due %v, armed %v", now.Sub(begin), at.Sub(begin), armed)
				}
				delete(due, fired)
			})
			for _, at := range due {
				if now.Sub(at) > time.Second {
					t.Fatalf("at %v still hanging, due %v", now.Sub(begin), at.Sub(begin))
				}
			}
		}
	}
	w.advance(now.Add(3*time.Hour), func(fired *timer) { delete(due, fired) })
	if len(due) != 0 {
		t.Errorf("after a pause longer than the ring: %d timers never fired", len(due))
	}
}

func TestWheelToleratesTimeStandingStill(t *testing.T) {
	w := newWheel(begin)
	var tm timer
	w.arm(&tm, begin.Add(-time.Minute))
	fired := 0
	for _, at := range []time.Duration{0, -time.Second, 0, time.Second, time.Second} {
		w.advance(begin.Add(at), func(*timer) { fired++ })
	}
	if fired != 1 {
		t.Errorf("fired: got %d, want 1", fired)
	}
}
