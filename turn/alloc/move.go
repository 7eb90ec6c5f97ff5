package alloc

import "time"

// Move lets an allocation be reached from another 5-tuple, too, where it belongs as soon as data comes from there: RFC 8016
// §3.2.2. There is one such 5-tuple at a time; the one before is forgotten. It says Mismatch when the 5-tuple has another
// allocation.
func (t *Table) Move(a *Allocation, to FiveTuple) Verdict {
	if other := t.tuples[to.key()]; other != nil && other != a {
		return Mismatch
	}
	t.Stay(a)
	if to != a.Tuple {
		a.next, a.moving = to, true
		t.tuples[to.key()] = a
	}
	return OK
}

// Arrive ends a move: the 5-tuple that the allocation was reached from before is free again.
func (t *Table) Arrive(a *Allocation) {
	if a.moving {
		delete(t.tuples, a.Tuple.key())
		a.Tuple, a.moving = a.next, false
	}
}

// Stay takes a move back that has not ended.
func (t *Table) Stay(a *Allocation) {
	if a.moving {
		delete(t.tuples, a.next.key())
		a.moving = false
	}
}

// Moving returns whether the 5-tuple is the one that the allocation moves to.
func (a *Allocation) Moving(to FiveTuple) bool { return a.moving && a.next == to }

// Curtail ends an allocation at the given time at the latest, unless it is refreshed.
func (t *Table) Curtail(a *Allocation, end time.Time) {
	for i := range a.halves {
		if h := &a.halves[i]; h.live && h.expires.After(end) {
			t.renew(end, a, i)
		}
	}
}
