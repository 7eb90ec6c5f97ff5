package daemon

import (
	"context"
	"testing"
)

// TestEventsInOrder: a follower gets every event once, those that come while it waits too.
func TestEventsInOrder(t *testing.T) {
	r := new(eventRing)
	got := make(chan Event)
	go func() {
		defer close(got)
		for seq := uint64(0); seq < 3; {
			e, err := r.next(t.Context(), seq)
			if err != nil {
				t.Error(err)
				return
			}
			got <- e
			seq = e.Seq
		}
	}()
	for i, want := range []string{EventSession, EventTransfer, EventContact} {
		r.publish(Event{Type: want})
		if e := <-got; e.Type != want || e.Seq != uint64(i+1) || e.Time.IsZero() || e.Kind != "event" {
			t.Errorf("event %d: %+v, want a %s", i+1, e, want)
		}
	}
}

// TestSlowFollowerIsToldWhatItLost: the oldest go, the newest stay, and nothing waits for who is slow.
func TestSlowFollowerIsToldWhatItLost(t *testing.T) {
	r := new(eventRing)
	const more = 10
	for range keptEvents + more {
		r.publish(Event{Type: EventPath})
	}
	e, err := r.next(t.Context(), 0)
	if err != nil || e.Type != EventLost || e.Lost != more || e.Seq != more {
		t.Fatalf("first: %+v, %v; want %d lost", e, err, more)
	}
	seen := 0
	for seq := e.Seq; seq < r.newest(); seen++ {
		if e, err = r.next(t.Context(), seq); err != nil || e.Seq != seq+1 {
			t.Fatalf("after %d: %+v, %v", seq, e, err)
		}
		seq = e.Seq
	}
	if seen != keptEvents {
		t.Errorf("%d events are kept, want %d", seen, keptEvents)
	}
}

// TestEventsEnd: a follower that waits ends with its context, and a number of the future waits for the next event.
func TestEventsEnd(t *testing.T) {
	r := new(eventRing)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if e, err := r.next(gone, 7); err == nil {
		t.Errorf("after nothing: %+v", e)
	}
	r.publish(Event{Type: EventSession})
	if e, err := r.next(t.Context(), 0); err != nil || e.Seq != 1 {
		t.Errorf("%+v, %v", e, err)
	}
}
