package dht

import (
	"context"
	"fmt"
	"time"

	"traverse.internal/signalling"
)

// ownRecord is the record that a device publishes for itself, in the slot that only its key can find. What is there after it was written here was
// written by somebody else with the same key: a record of an earlier run is older, whatever its addresses.
type ownRecord struct {
	run signalling.RequestID // of the records of this run

	// The fields below are lookAtOwn's, one at a time.
	next  time.Time // of the next look
	put   time.Time // of the last writing; zero: none yet
	hour  int64
	seq   int64
	addrs string
}

// looksPerRecord is how often the own slot is read for each time that it is written: each costs a get.
const looksPerRecord = 4

// lookAtOwn looks at the own slot when that is due, and writes it anew when that is.
func (p *publisher) lookAtOwn(ctx context.Context, now time.Time) {
	c := p.courier
	if c.cfg.Twin == nil || !p.looking.CompareAndSwap(false, true) {
		return
	}
	if now.Before(p.own.next) {
		p.looking.Store(false)
		return
	}
	p.own.next = now.Add(c.cfg.Republish / looksPerRecord)
	p.wg.Go(func() {
		defer p.looking.Store(false)
		p.readOwn(ctx, now)
		p.writeOwn(ctx, now)
	})
}

func (p *publisher) readOwn(ctx context.Context, now time.Time) {
	c, own := p.courier, &p.own
	if own.put.IsZero() {
		return
	}
	secret, err := c.secret(c.self)
	if err != nil {
		return
	}
	s := pairSlot(secret, forPresence, c.self, c.self, own.hour)
	item, err := c.node.Get(ctx, s.public, own.seq, nil)
	if err != nil || item.Seq <= own.seq {
		return
	}
	m, err := signalling.Open(c.cfg.Device, item.Value)
	if err != nil || m.Kind != signalling.Record || m.From != c.self || m.ID == own.run {
		return
	}
	if where, err := parseRecord(m.Body); err == nil && now.Before(m.Expiry) {
		own.put = time.Time{} // so that the other one sees us too
		c.cfg.Twin(where.addrs)
	}
}

func (p *publisher) writeOwn(ctx context.Context, now time.Time) {
	c, own := p.courier, &p.own
	addrs := c.addresses()
	text := fmt.Sprint(addrs)
	if now.Sub(own.put) < c.cfg.Republish && own.hour == hourOf(now) && own.addrs == text {
		return
	}
	secret, err := c.secret(c.self)
	if err != nil {
		return
	}
	sealed, err := c.sealRecord(c.self, own.run, places{addrs: addrs}, now.Add(c.life()))
	if err != nil {
		return
	}
	if stored, err := c.node.Put(ctx, pairSlot(secret, forPresence, c.self, c.self, hourOf(now)).key, sequenceNow(), sealed); err == nil {
		own.put, own.hour, own.seq, own.addrs = now, hourOf(now), stored.Seq, text
	}
}
