package dht

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// How long a lookup's result serves others: a call's routes all ask at the same time. A record may be that of a device
// that has just restarted under another port, so it is looked for again while it does not answer. That there is nothing
// is soon asked again, since a device that starts publishes within a moment.
const (
	reuseFound   = 40 * time.Millisecond
	reuseNothing = 20 * time.Millisecond
)

// finds is what is known of contacts' presence.
type finds struct {
	mu     sync.Mutex // guards the field below
	byPeer map[identity.DeviceID]*find
}

// find is what is known of one contact's presence; guarded by the finds' mu.
type find struct {
	record record
	known  bool          // record holds one, which may have expired since
	at     time.Time     // when the last lookup ended
	busy   chan struct{} // closed when the lookup that runs has ended; nil while none runs
}

// Find looks for a record of peer that holds, again and again until ctx ends. It is part of signalling.Presence.
func (c *Courier) Find(ctx context.Context, peer identity.DeviceID) signalling.Finding {
	best := signalling.FoundNothing
	c.watch(ctx, peer, func(r record) (more bool) {
		best = signalling.FoundStale
		if r.fresh(time.Now()) {
			best = signalling.FoundFresh
		}
		return best != signalling.FoundFresh
	})
	return best
}

// watch calls each with peer's record as it is known, and again whenever a lookup has brought one, until each returns
// false or ctx ends. The first lookups come quickly, 50, 100, 200 ms after each other where slots are polled every 2 s, since the peer may be
// starting at this moment too: its record is then that of its last run, or not there yet. Who does not answer costs 8 lookups in 10 s.
func (c *Courier) watch(ctx context.Context, peer identity.DeviceID, each func(record) (more bool)) {
	if r, ok := c.recall(peer); ok && !each(r) {
		return
	}
	for pause := c.cfg.Poll / 40; ; pause = min(2*pause, 2*c.cfg.Poll) {
		if r, ok := c.lookup(ctx, peer); ok && !each(r) {
			return
		}
		if !wait(ctx, pause) {
			return
		}
	}
}

// WatchRelays calls each with the relays where peer is registered for push, as its presence says and our mode allows, and again
// whenever a lookup has brought a record, until each returns false or ctx ends.
func (c *Courier) WatchRelays(ctx context.Context, peer identity.DeviceID, each func([]netip.AddrPort) (more bool)) {
	c.watch(ctx, peer, func(r record) bool {
		return each(slices.DeleteFunc(slices.Clone(r.relays), func(a netip.AddrPort) bool { return !c.node.cfg.Mode.allowsDirect(a) }))
	})
}

// recall returns what is known of peer without asking anybody.
func (c *Courier) recall(peer identity.DeviceID) (record, bool) {
	c.finds.mu.Lock()
	defer c.finds.mu.Unlock()
	f := c.finds.byPeer[peer]
	if f == nil || !f.known {
		return record{}, false
	}
	return f.record, true
}

// lookup asks the DHT for peer's record, together with whoever else asks at the moment, and returns what is known then.
func (c *Courier) lookup(ctx context.Context, peer identity.DeviceID) (record, bool) {
	for {
		f, busy, mine := c.finds.begin(peer)
		if mine {
			r, ok := c.fetch(ctx, peer)
			c.finds.end(f, r, ok, ctx.Err() == nil)
			return c.recall(peer)
		}
		if busy == nil {
			return c.recall(peer)
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return c.recall(peer)
		}
	}
}

// begin makes the caller the one who looks (mine), or says for whom to wait, or, with neither, that the last result is
// good.
func (fs *finds) begin(peer identity.DeviceID) (f *find, busy chan struct{}, mine bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f = fs.byPeer[peer]
	if f == nil {
		fs.makeRoomLocked()
		f = &find{}
		fs.byPeer[peer] = f
	}
	reuse := reuseNothing
	if f.known && f.record.fresh(time.Now()) {
		reuse = reuseFound
	}
	switch {
	case f.busy != nil:
		return f, f.busy, false
	case time.Since(f.at) < reuse:
		return f, nil, false
	}
	f.busy = make(chan struct{})
	return f, nil, true
}

func (fs *finds) end(f *find, r record, ok, finished bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if ok && (!f.known || !r.expiry.Before(f.record.expiry)) {
		f.record, f.known = r, true
	}
	if finished {
		f.at = time.Now()
	}
	close(f.busy)
	f.busy = nil
}

// makeRoomLocked keeps the table small: callers choose whom to call, contacts come and go.
func (fs *finds) makeRoomLocked() {
	if len(fs.byPeer) < 2*maxContacts {
		return
	}
	for peer, f := range fs.byPeer {
		if f.busy == nil {
			delete(fs.byPeer, peer)
		}
	}
}

// fetch looks into peer's presence slots: this hour's and the one before, where a record may still hold or show that
// it no longer does, and the next one where clocks may differ. It returns the record that holds longest.
func (c *Courier) fetch(ctx context.Context, peer identity.DeviceID) (best record, found bool) {
	secret, err := c.secret(peer)
	if err != nil {
		return record{}, false
	}
	c.node.stats.lookups.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, hour := range hoursToRead(time.Now(), time.Hour-signalling.Skew) { // always the one before
		wg.Go(func() {
			s := pairSlot(secret, forPresence, peer, c.self, hour)
			_, _ = c.node.Get(ctx, s.public, 0, func(item Item) bool {
				r, ok := c.openRecord(peer, item.Value)
				if !ok {
					return false
				}
				mu.Lock()
				defer mu.Unlock()
				if !found || r.expiry.After(best.expiry) {
					best, found = r, true
				}
				if r.fresh(time.Now()) {
					cancel() // one that holds is enough: the other hour need not be waited for
				}
				return r.fresh(time.Now())
			})
		})
	}
	wg.Wait()
	return best, found
}

// openRecord opens what was found in peer's presence slot.
func (c *Courier) openRecord(peer identity.DeviceID, sealed []byte) (record, bool) {
	m, err := signalling.Open(c.cfg.Device, sealed)
	if err != nil || m.Kind != signalling.Record || m.From != peer || m.Expiry.After(time.Now().Add(signalling.MaxPresenceLife+signalling.Skew)) {
		return record{}, false
	}
	where, err := parseRecord(m.Body)
	if err != nil {
		return record{}, false
	}
	return record{m.Expiry, where}, true
}
