package ice

import (
	"context"
	"slices"
	"time"
)

const (
	followEvery = 5 * time.Second  // how often the list of addresses is looked at
	learnEvery  = 10 * time.Minute // how often what was learnt is learnt anew on a network that seems the same
	learnAgain  = 30 * time.Second // after a failure: the relay may be back
)

// Follow learns what the network does to TCP, and again whenever this machine's addresses change, until ctx ends. It is for
// one goroutine.
func (e *Endpoint) Follow(ctx context.Context) {
	last, _ := hosts(&e.cfg)
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	var next time.Time
	for {
		if !time.Now().Before(next) && len(e.servers.Load().relays) > 0 {
			_, err := e.Learn(ctx)
			if next = time.Now().Add(learnEvery); err != nil {
				next = time.Now().Add(learnAgain)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now, err := hosts(&e.cfg); err == nil && !slices.Equal(now, last) {
			last, next = now, time.Time{}
			e.mu.Lock()
			close(e.changed)
			e.changed = make(chan struct{})
			e.mu.Unlock()
		}
	}
}

// Changed is closed when Follow next sees that this machine's addresses have changed: time to try a direct path again.
func (e *Endpoint) Changed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}
