package dht

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

const (
	publishAtOnce = 8 // records written at the same time
	retryFirst    = time.Second
	retryMost     = 30 * time.Second
)

// publication is what a contact was told last.
type publication struct {
	running bool
	next    time.Time
	hour    int64
	addrs   string
	pause   time.Duration // until the next try, while no other node takes the record
}

// publisher keeps a record in every contact's presence slot.
type publisher struct {
	courier *Courier
	sem     chan struct{}
	wg      sync.WaitGroup

	own     ownRecord
	looking atomic.Bool // somebody looks at own
	text    string      // of the places at the last step; Serve's own

	mu     sync.Mutex // guards the field below
	byPeer map[identity.DeviceID]*publication
}

// Serve publishes this device's presence for its contacts until ctx ends: at once for a new contact and when our
// addresses change, for each new hour, and every Republish. It is part of signalling.Presence. It returns nil after all
// it started has returned.
func (c *Courier) Serve(ctx context.Context) error {
	p := &publisher{courier: c, sem: make(chan struct{}, publishAtOnce), byPeer: map[identity.DeviceID]*publication{}}
	rand.Read(p.own.run[:])
	tick := time.NewTicker(min(max(c.cfg.Republish/8, 20*time.Millisecond), 250*time.Millisecond)) // a new contact is told within that
	defer tick.Stop()
	defer p.wg.Wait()
	for {
		p.step(ctx, time.Now())
		p.lookAtOwn(ctx, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// step starts what is due.
func (p *publisher) step(ctx context.Context, now time.Time) {
	contacts := p.courier.contacts()
	where := p.courier.places()
	text := fmt.Sprint(where)
	if text != p.text && p.courier.cfg.Moved != nil {
		p.courier.cfg.Moved()
	}
	p.text = text
	p.forget(contacts)
	for _, peer := range contacts {
		if !p.due(peer, now, text) {
			continue
		}
		select {
		case p.sem <- struct{}{}:
		default:
			return // the rest with the next step
		}
		p.start(peer)
		p.wg.Go(func() {
			defer func() { <-p.sem }()
			p.publish(ctx, peer, where, text)
		})
	}
}

func (p *publisher) forget(contacts []identity.DeviceID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.byPeer) <= len(contacts) {
		return
	}
	kept := make(map[identity.DeviceID]*publication, len(contacts))
	for _, peer := range contacts {
		if pub := p.byPeer[peer]; pub != nil {
			kept[peer] = pub
		}
	}
	p.byPeer = kept
}

func (p *publisher) due(peer identity.DeviceID, now time.Time, addrs string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	pub := p.byPeer[peer]
	switch {
	case pub == nil:
		return true
	case pub.running:
		return false
	}
	return !now.Before(pub.next) || pub.pause == 0 && (pub.hour != hourOf(now) || pub.addrs != addrs)
}

func (p *publisher) start(peer identity.DeviceID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byPeer[peer] == nil {
		p.byPeer[peer] = &publication{}
	}
	p.byPeer[peer].running = true
}

// publish writes the record for one contact and notes when to do it again. A record that only this node has is good
// for whoever asks this node, but is soon tried again.
func (p *publisher) publish(ctx context.Context, peer identity.DeviceID, where places, text string) {
	now := time.Now()
	stored, err := p.courier.putRecord(ctx, peer, where, now.Add(p.courier.life()))
	p.mu.Lock()
	defer p.mu.Unlock()
	pub := p.byPeer[peer]
	if pub == nil {
		return // no contact any more
	}
	pub.running, pub.hour, pub.addrs = false, hourOf(now), text
	if err == nil && stored.Nodes > 0 {
		pub.pause, pub.next = 0, now.Add(p.courier.cfg.Republish)
		return
	}
	pub.pause = min(max(2*pub.pause, retryFirst), retryMost)
	pub.next = now.Add(min(pub.pause, p.courier.cfg.Republish))
}

// putRecord writes one presence record.
func (c *Courier) putRecord(ctx context.Context, peer identity.DeviceID, where places, expiry time.Time) (Stored, error) {
	secret, err := c.secret(peer)
	if err != nil {
		return Stored{}, err
	}
	var id signalling.RequestID
	rand.Read(id[:])
	sealed, err := c.sealRecord(peer, id, where, expiry)
	if err != nil {
		return Stored{}, err
	}
	s := pairSlot(secret, forPresence, c.self, peer, hourOf(time.Now()))
	stored, err := c.node.Put(ctx, s.key, sequenceNow(), sealed)
	if err != nil {
		c.node.stats.presenceFails.Add(1)
		return stored, err
	}
	c.node.stats.presencePuts.Add(1)
	return stored, nil
}

func (c *Courier) sealRecord(peer identity.DeviceID, id signalling.RequestID, where places, expiry time.Time) ([]byte, error) {
	return signalling.Seal(c.cfg.Device, signalling.Message{Kind: signalling.Record, To: peer, ID: id, Expiry: expiry, Body: appendRecord(nil, where)})
}
