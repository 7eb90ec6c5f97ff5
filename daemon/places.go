package daemon

import (
	"context"
	"slices"
	"sync"

	"traverse.internal/transfer"
)

const (
	// defaultParallel is how many transfers have their bytes on the way at once where the configuration does not say.
	defaultParallel = 4

	// smallTransfer needs no place: it is over before it is in anybody's way.
	smallTransfer = 1 << 20
)

// errNoPlace ends a run whose receiver is ready when as many transfers are being sent as may be. It is offered again, and taken at once, when there is a place.
var errNoPlace = &transfer.Error{Kind: transfer.ErrBusy, By: transfer.Local, Detail: "other transfers come first"}

// places bounds how many transfers are being sent at once. An offer that waits for an answer has none. Who waits for one gets it by priority; among
// those of one the contact that has the fewest places goes first, then whoever has waited longest. Safe for concurrent use.
type places struct {
	limit int

	mu      sync.Mutex // guards the fields below
	taken   map[string]int
	count   int
	waiting []*placeWait // in the order in which they came; no longer than the table
}

// place is one, or none yet. It belongs to one run.
type place struct {
	of  *places
	who string // contact; empty: none is held
}

type placeWait struct {
	who      string
	priority int
	granted  chan struct{} // closed when it has one
}

func newPlaces(limit int) *places {
	if limit <= 0 {
		limit = defaultParallel
	}
	return &places{limit: limit, taken: map[string]int{}}
}

// take is for the moment at which the receiver is ready. It does not wait.
func (p *places) take(held *place, who string, left int64) error {
	if held.who != "" || left <= smallTransfer {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count >= p.limit {
		return errNoPlace
	}
	p.enterLocked(held, who)
	return nil
}

func (p *places) enterLocked(held *place, who string) {
	p.count++
	p.taken[who]++
	held.of, held.who = p, who
}

// wait waits for a place, and reports false when ctx ended first.
func (p *places) wait(ctx context.Context, held *place, who string, priority int) bool {
	w := &placeWait{who, priority, make(chan struct{})}
	p.mu.Lock()
	p.waiting = append(p.waiting, w)
	p.grantLocked()
	p.mu.Unlock()
	select {
	case <-w.granted:
		held.of, held.who = p, who
		return true
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, w); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		return false
	}
	held.of, held.who = p, who // it was granted at the same moment
	p.leaveLocked(held)
	return false
}

// leave gives a place back, if one is held.
func (h *place) leave() {
	if h.who == "" {
		return
	}
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	h.of.leaveLocked(h)
}

func (p *places) leaveLocked(h *place) {
	p.count--
	if p.taken[h.who]--; p.taken[h.who] == 0 {
		delete(p.taken, h.who)
	}
	h.who = ""
	p.grantLocked()
}

// grantLocked gives free places to those who wait.
func (p *places) grantLocked() {
	for p.count < p.limit && len(p.waiting) > 0 {
		best := 0
		for i, w := range p.waiting {
			b := p.waiting[best]
			if w.priority > b.priority || w.priority == b.priority && p.taken[w.who] < p.taken[b.who] {
				best = i
			}
		}
		w := p.waiting[best]
		p.waiting = slices.Delete(p.waiting, best, best+1)
		p.count++
		p.taken[w.who]++
		close(w.granted)
	}
}

// waitPlace has a transfer wait for a place; it is queued meanwhile. It reports false when the run is to end.
func (d *Daemon) waitPlace(ctx context.Context, e *entry, held *place) bool {
	shown, keep := d.table.record(e)
	d.table.update(e, func(e *entry) {
		e.shown.State, e.shown.Error, e.session, e.paused = StateQueued, nil, [16]byte{}, false
	})
	return d.places.wait(ctx, held, d.contactName(shown.Peer), priorities[keep.Options.Priority])
}
