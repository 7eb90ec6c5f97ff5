package dht

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

const (
	pollsAtOnce = 8
	maxSeen     = 8 * maxContacts // mailboxes remembered: two or three hours of requests and answers per contact
)

// mail is the route of pairwise slots: the caller leaves its request in one, the called device looks into each
// contact's, and leaves its answer in another.
type mail struct {
	courier *Courier
	sink    signalling.Sink
}

// seen is the newest item read from a mailbox.
type seen struct {
	seq  int64
	hour int64
}

// Name returns "slot".
func (m *mail) Name() string { return "slot" }

// Attach sets the sink.
func (m *mail) Attach(sink signalling.Sink) { m.sink = sink }

// Send leaves out in the slot for its recipient. For a request it then looks for the answer until ctx ends, and writes
// the request again from time to time, since nodes come and go.
func (m *mail) Send(ctx context.Context, out signalling.Outgoing) error {
	c := m.courier
	if out.Kind == signalling.Answer {
		return c.putAnswer(ctx, out.To, out.Sealed)
	}
	secret, err := c.secret(out.To)
	if err != nil {
		return err
	}
	s, seq := pairSlot(secret, forRequest, c.self, out.To, hourOf(time.Now())), sequenceNow()
	again := max(2*c.cfg.Poll, 3*time.Second)
	return c.sendAndListen(ctx, out.To, m.sink, again, func(ctx context.Context) error {
		_, err := c.node.Put(ctx, s.key, seq, out.Sealed)
		return err
	})
}

// sendAndListen writes by put until that works, and again and again, and reads the answer slot, until ctx ends. With a
// nil sink somebody else reads it.
func (c *Courier) sendAndListen(
	ctx context.Context, peer identity.DeviceID, sink signalling.Sink, again time.Duration, put func(context.Context) error,
) error {
	var err error
	var next time.Time
	for ctx.Err() == nil {
		if now := time.Now(); !now.Before(next) {
			if err = put(ctx); err == nil {
				next = now.Add(again)
			} else {
				next = now.Add(min(again, retryFirst))
			}
		}
		if sink != nil {
			c.readMailboxes(ctx, peer, forAnswer, sink)
		}
		wait(ctx, c.callPoll())
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil // it was we who stopped it
	}
	return err
}

// putAnswer leaves an answer in the slot for peer, once per answer: two routes may ask for it.
func (c *Courier) putAnswer(ctx context.Context, peer identity.DeviceID, sealed []byte) error {
	if !c.claimAnswer(peer, string(sealed)) {
		return nil
	}
	secret, err := c.secret(peer)
	if err != nil {
		return err
	}
	s, seq := pairSlot(secret, forAnswer, c.self, peer, hourOf(time.Now())), sequenceNow()
	for {
		if _, err = c.node.Put(ctx, s.key, seq, sealed); err == nil || !wait(ctx, retryFirst) {
			return err
		}
	}
}

// claimAnswer reports whether sealed is another answer than the last one left for peer.
func (c *Courier) claimAnswer(peer identity.DeviceID, sealed string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.posted[peer] == sealed {
		return false
	}
	if len(c.posted) >= maxContacts {
		clear(c.posted)
	}
	c.posted[peer] = sealed
	return true
}

// Serve looks into every contact's request slot until ctx ends.
func (m *mail) Serve(ctx context.Context) error {
	c := m.courier
	var wg sync.WaitGroup
	defer wg.Wait()
	sem := make(chan struct{}, pollsAtOnce)
	r := rounds{due: map[identity.DeviceID]time.Time{}}
	tick := min(max(c.cfg.Poll/8, 10*time.Millisecond), 250*time.Millisecond) // how soon a new contact is seen
	timer := time.NewTimer(tick)
	defer timer.Stop()
	for {
		contacts := c.contacts()
		interval := c.pollInterval(len(contacts))
		for _, peer := range r.take(contacts, time.Now(), interval, cap(sem)-len(sem)) {
			sem <- struct{}{} // take gives no more than there is room for, and nobody else sends
			wg.Go(func() {
				defer func() { <-sem }()
				start := time.Now()
				c.readMailboxes(ctx, peer, forRequest, m.sink)
				r.set(peer, start.Add(interval))
			})
		}
		timer.Reset(r.pause(time.Now(), tick))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// rounds says whose slot is to be looked into next.
type rounds struct {
	mu  sync.Mutex // guards the field below
	due map[identity.DeviceID]time.Time
}

// take returns at most room contacts that are due, those that wait longest, and makes them not due until set. A new
// contact's first time is random within the interval, so that polls spread evenly.
func (r *rounds) take(contacts []identity.DeviceID, now time.Time, interval time.Duration, room int) (take []identity.DeviceID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.due
	r.due = make(map[identity.DeviceID]time.Time, len(contacts))
	for _, peer := range contacts {
		t, known := old[peer]
		if !known {
			t = now.Add(rand.N(interval))
		}
		r.due[peer] = t
		if !now.Before(t) {
			take = append(take, peer)
		}
	}
	slices.SortStableFunc(take, func(a, b identity.DeviceID) int { return r.due[a].Compare(r.due[b]) })
	take = take[:min(len(take), room)]
	for _, peer := range take {
		r.due[peer] = now.Add(time.Hour) // until set
	}
	return take
}

// pause is how long nothing is due, most at the longest. Where more was due than there was room for it is most as well.
func (r *rounds) pause(now time.Time, most time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	pause := most
	for _, t := range r.due {
		if d := t.Sub(now); d > 0 {
			pause = min(pause, d)
		}
	}
	return pause
}

func (r *rounds) set(peer identity.DeviceID, next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.due[peer]; ok {
		r.due[peer] = next
	}
}

// readMailboxes looks into the slots where peer may have left something for us, and delivers what is new.
func (c *Courier) readMailboxes(ctx context.Context, peer identity.DeviceID, p purpose, sink signalling.Sink) {
	secret, err := c.secret(peer)
	if err != nil {
		return
	}
	for _, hour := range hoursToRead(time.Now(), signalling.MaxLife) {
		c.readMailbox(ctx, pairSlot(secret, p, peer, c.self, hour).public, hour, sink)
	}
}

// readMailbox looks into one slot and delivers what was not read before.
func (c *Courier) readMailbox(ctx context.Context, public [32]byte, hour int64, sink signalling.Sink) {
	c.node.stats.polls.Add(1)
	item, err := c.node.Get(ctx, public, c.lastSeen(public), func(Item) bool { return true })
	if err != nil {
		return
	}
	c.markSeen(public, seen{item.Seq, hour})
	sink(signalling.Arrival{Sealed: item.Value})
}

func (c *Courier) lastSeen(public [32]byte) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[public].seq
}

func (c *Courier) markSeen(public [32]byte, s seen) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.seen) >= maxSeen {
		for key, old := range c.seen {
			if old.hour < s.hour-2 {
				delete(c.seen, key)
			}
		}
		if len(c.seen) >= maxSeen {
			clear(c.seen) // then some old messages are delivered again, and refused as seen
		}
	}
	c.seen[public] = s
}
