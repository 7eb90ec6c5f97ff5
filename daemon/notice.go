package daemon

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"traverse.internal/connmgr"
	"traverse.internal/identity"
	"traverse.internal/metrics"
)

// Telling contacts that this device is here. What it costs is in docs/protocol/signalling.md, section 5b.
const (
	tellSettle  = 300 * time.Millisecond // after the last change of where we are: addresses come one after the other
	tellForPush = 5 * time.Second        // that a registration at our relay is waited for: a contact that calls back needs it
	tellEvery   = 15 * time.Second       // between rounds, after tellBurst of them
	tellBurst   = 4
	tellMost    = 256             // contacts' devices a round
	tellAtOnce  = 8               // of them
	tellTime    = 5 * time.Second // for each
	tellAgain   = 10 * time.Second
)

// notices is what the daemon has of them.
type notices struct {
	moved chan struct{} // where this device is reached has changed

	transfers, sessions atomic.Uint64 // that a contact's notice has set going
}

// hasMoved is called when the presence record of this device says something else.
func (n *notices) hasMoved() {
	select {
	case n.moved <- struct{}{}:
	default:
	}
}

// noticed is for a contact that says it is here now: what waits for it goes on. It runs on a route's reading goroutine.
func (d *Daemon) noticed(from identity.DeviceID, record []byte) {
	if d.courier.Learn(from, record) != nil {
		return // of a later version, maybe: it is there all the same
	}
	if d.push != nil {
		d.push.Heard(from)
	}
	d.spawn(func() {
		if d.manager.Heard(from) {
			d.notices.sessions.Add(1)
		}
		d.notices.transfers.Add(uint64(d.peerIsHere(from)))
	})
}

// tellLoop tells contacts when this device has come up, and when it has moved.
func (d *Daemon) tellLoop() {
	limit := rate.NewLimiter(rate.Every(tellEvery), tellBurst)
	for told := false; d.settled(&told); {
		if limit.Wait(d.ctx) != nil {
			return
		}
		left := d.tell(d.untold())
		if len(left) > 0 && d.pause(tellAgain) { // the DHT may not have been there yet
			d.tell(slices.DeleteFunc(left, func(id identity.DeviceID) bool { return !slices.Contains(d.untold(), id) }))
		}
	}
}

// settled waits until this device has moved and stays where it is, and then, the first time, for its relay; later it waits for that as long as it takes. It reports false when
// the daemon goes down.
func (d *Daemon) settled(told *bool) bool {
	var patience <-chan time.Time // nil: it has not moved
	for {
		select {
		case <-d.ctx.Done():
			return false
		case <-d.notices.moved:
			wait := tellSettle
			if !d.callable() {
				wait = tellForPush
			}
			patience = time.After(wait)
		case <-patience:
			if *told && !d.callable() {
				patience = nil // the registration will be a move
				continue
			}
			*told = true
			return true
		}
	}
}

// callable tells whether a relay pushes to this device, where it has any that could.
func (d *Daemon) callable() bool {
	return d.push == nil || len(d.push.States()) == 0 || d.push.Stats().Up > 0
}

// pause waits and reports false when the daemon goes down, or when this device has moved, which is then still to be dealt with.
func (d *Daemon) pause(wait time.Duration) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-d.notices.moved:
		d.notices.hasMoved()
		return false
	case <-d.ctx.Done():
		return false
	}
}

// untold are the contacts' devices without a session that works.
func (d *Daemon) untold() []identity.DeviceID {
	here := map[identity.DeviceID]bool{d.self: true}
	for _, s := range d.manager.Sessions() {
		if s.State == connmgr.StateConnected {
			here[s.Peer] = true
		}
	}
	peers := slices.DeleteFunc(slices.Clone(d.contacts.Devices()), func(id identity.DeviceID) bool { return here[id] })
	return peers[:min(len(peers), tellMost)]
}

// tell tells devices, and returns those that were not reached.
func (d *Daemon) tell(peers []identity.DeviceID) (left []identity.DeviceID) {
	record := d.courier.Record()
	var mu sync.Mutex
	calls := newFew(tellAtOnce)
	for _, peer := range peers {
		calls.do(func() {
			ctx, cancel := context.WithTimeout(d.ctx, tellTime)
			defer cancel()
			if d.signaler.Notify(ctx, peer, record) != nil {
				mu.Lock()
				defer mu.Unlock()
				left = append(left, peer)
			}
		})
	}
	calls.wait()
	return left
}

// woken is what contacts' notices have set going.
func (d *Daemon) woken() metrics.Woken {
	return metrics.Woken{Transfers: d.notices.transfers.Load(), Sessions: d.notices.sessions.Load()}
}
