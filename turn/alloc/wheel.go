package alloc

import "time"

// wheelSlots is above the longest lifetime in seconds, so that a timer never has to go round twice: 4096 × 8 B = 32 KiB
// a shard.
const wheelSlots = 4096

// timer hangs in a wheel slot. It is embedded in what it ends, and exactly one of alloc and conn is set.
type timer struct {
	prev, next *timer
	tick       int64 // due at the start of this second of the wheel; 0 when not hanging
	alloc      *Allocation
	half       int // of alloc
	conn       *Conn
}

// wheel is a ring of one-second slots. Arming, disarming and moving a timer take constant time.
type wheel struct {
	start time.Time // tick 0
	done  int64     // ticks up to and including this one have fired
	slots [wheelSlots]*timer
}

func newWheel(now time.Time) *wheel { return &wheel{start: now} }

// tickAt rounds up, so that nothing fires early.
func (w *wheel) tickAt(at time.Time) int64 {
	return int64((at.Sub(w.start) + time.Second - 1) / time.Second)
}

// arm hangs t so that it fires at the given time or up to a second later. It may hang already.
func (w *wheel) arm(t *timer, at time.Time) {
	w.disarm(t)
	t.tick = min(max(w.tickAt(at), w.done+1), w.done+wheelSlots-1)
	slot := &w.slots[t.tick%wheelSlots]
	t.next = *slot
	if t.next != nil {
		t.next.prev = t
	}
	*slot = t
}

// disarm takes t off. It need not hang.
func (w *wheel) disarm(t *timer) {
	if t.tick == 0 {
		return
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		w.slots[t.tick%wheelSlots] = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.prev, t.next, t.tick = nil, nil, 0
}

// advance fires everything that is due. A fired timer no longer hangs.
func (w *wheel) advance(now time.Time, fire func(*timer)) {
	target := int64(now.Sub(w.start) / time.Second)
	// After a long pause one round over the ring sees every timer.
	from := max(w.done+1, target-wheelSlots+1)
	w.done = max(w.done, target)
	for tick := from; tick <= target; tick++ {
		// All of a slot have the same tick, as nothing is armed a whole round ahead. From the head each time: what fires
		// may disarm its neighbours.
		for slot := &w.slots[tick%wheelSlots]; *slot != nil; {
			t := *slot
			w.disarm(t)
			fire(t)
		}
	}
}
