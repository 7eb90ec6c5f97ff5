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
	better chan struct{} // closed and replaced when record is

	stale time.Time // expiry of what was known when a notice came: a lookup's record counts when it holds longer
}

// Nodes do not agree: one that missed the last put has the record of a device's last run, which may hold still. So a lookup that has found a record
// that holds goes on as long again as that took, within these limits, and those who wait have it meanwhile.
const (
	settleLeast = 100 * time.Millisecond
	settleMost  = 500 * time.Millisecond
)

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
// starting at this moment too: its record is then that of its last run, or not there yet. A node that had not joined yet when it looked looks again
// as soon as it has. Who does not answer costs 8 lookups in 10 s.
func (c *Courier) watch(ctx context.Context, peer identity.DeviceID, each func(record) (more bool)) {
	tell := func() (more bool) {
		r, ok := c.recall(peer)
		return !ok || each(r)
	}
	if !tell() {
		return
	}
	for pause := c.cfg.Poll / 40; ; pause = min(2*pause, 2*c.cfg.Poll) {
		joining := c.node.joining()
		if !c.lookup(ctx, peer, tell) {
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-joining:
		case <-c.finds.of(peer): // a notice
			if !tell() {
				timer.Stop()
				return
			}
		}
		timer.Stop()
		if ctx.Err() != nil {
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

// lookup asks the DHT for peer's record, together with whoever else asks at the moment. It calls tell for each record that is better than what was known, and
// at the end, and returns false when tell has.
func (c *Courier) lookup(ctx context.Context, peer identity.DeviceID, tell func() (more bool)) (more bool) {
	for {
		f, busy, better, mine := c.finds.begin(peer)
		if mine {
			ended := make(chan struct{})
			go c.fetchInto(ctx, peer, f, ended)
			more = true
			for over := false; !over; {
				select {
				case <-better:
					better = c.finds.next(f)
					more = more && tell()
				case <-ended:
					over = true
				}
			}
			return more && tell()
		}
		if busy == nil {
			return tell()
		}
		for over := false; !over; {
			select {
			case <-busy:
				over = true
			case <-better:
				better = c.finds.next(f)
				if !tell() {
					return false
				}
			case <-ctx.Done():
				return tell()
			}
		}
	}
}

// begin makes the caller the one who looks (mine), or says for whom to wait, or, with neither, that the last result is
// good. better is closed with the next record that is better.
func (fs *finds) begin(peer identity.DeviceID) (f *find, busy, better <-chan struct{}, mine bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f = fs.entryLocked(peer)
	reuse := reuseNothing
	if f.known && f.record.fresh(time.Now()) {
		reuse = reuseFound
	}
	switch {
	case f.busy != nil:
		return f, f.busy, f.better, false
	case time.Since(f.at) < reuse:
		return f, nil, f.better, false
	}
	f.busy = make(chan struct{})
	return f, nil, f.better, true
}

// next is closed with the next record that is better than the one now.
func (fs *finds) next(f *find) <-chan struct{} {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return f.better
}

// found notes a record, if it is better than what is known.
func (fs *finds) found(f *find, r record) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f.known && (!r.newer(f.record) || !r.expiry.After(f.stale)) {
		return
	}
	f.record, f.known = r, true
	close(f.better)
	f.better = make(chan struct{})
}

func (fs *finds) end(f *find, finished bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
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

// fetchInto notes the best of what fetch finds.
func (c *Courier) fetchInto(ctx context.Context, peer identity.DeviceID, f *find, ended chan<- struct{}) {
	defer close(ended)
	c.fetch(ctx, peer, func(r record) { c.finds.found(f, r) })
	c.finds.end(f, ctx.Err() == nil)
}

// fetch looks into peer's presence slots: this hour's and the one before, where a record may still hold or show that
// it no longer does, and the next one where clocks may differ. It calls found, from several goroutines, for each record that is there.
func (c *Courier) fetch(ctx context.Context, peer identity.DeviceID, found func(record)) {
	secret, err := c.secret(peer)
	if err != nil {
		return
	}
	c.node.stats.lookups.Add(1)
	began := time.Now()
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	var once sync.Once
	var settled *time.Timer
	var wg sync.WaitGroup
	for _, hour := range hoursToRead(began, time.Hour-signalling.Skew) { // always the one before
		wg.Go(func() {
			s := pairSlot(secret, forPresence, peer, c.self, hour)
			_, _ = c.node.Get(within, s.public, 0, func(item Item) bool {
				r, ok := c.openRecord(peer, item)
				if !ok {
					return false
				}
				found(r)
				if r.fresh(time.Now()) { // neither hour need be waited for to its end
					once.Do(func() {
						settled = time.AfterFunc(min(max(time.Since(began), settleLeast), settleMost), cancel)
					})
				}
				return false
			})
		})
	}
	wg.Wait()
	if settled != nil {
		settled.Stop()
	}
}

// openRecord opens what was found in peer's presence slot.
func (c *Courier) openRecord(peer identity.DeviceID, item Item) (record, bool) {
	m, err := signalling.Open(c.cfg.Device, item.Value)
	if err != nil || m.Kind != signalling.Record || m.From != peer || m.Expiry.After(time.Now().Add(signalling.MaxPresenceLife+signalling.Skew)) {
		return record{}, false
	}
	where, err := parseRecord(m.Body)
	if err != nil {
		return record{}, false
	}
	return record{m.Expiry, item.Seq, where}, true
}
