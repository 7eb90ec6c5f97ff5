package daemon

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/transfer"
)

const (
	// defaultGrace is how long transfers may go on when nobody says: as that of turnd drain.
	defaultGrace = 10 * time.Minute
	maxGrace     = 24 * time.Hour

	// drainLook is how often it is looked whether the last one has ended.
	drainLook = 50 * time.Millisecond
)

// errDraining ends the begin of a run that there is to be none of any more. The transfer stays queued, and goes on when the node is up again.
var errDraining = &transfer.Error{Kind: transfer.ErrBusy, By: transfer.Local, Detail: "the node is being drained"}

// drain is how a node ends that is to finish what moves first. The zero value is one that nobody has asked for.
type drain struct {
	on atomic.Bool

	mu    sync.Mutex // guards the fields below
	since time.Time
	until time.Time
	peers map[identity.DeviceID]bool // who had a session when it began: those are kept alive
}

// DrainRequest is what `drain` asks for.
type DrainRequest struct {
	Grace *time.Duration `json:"grace_ns,omitempty"` // how long transfers may go on [10 min]; 0: they pause at once
}

// Drained says how a drain stands.
type Drained struct {
	cli.Envelope
	Device PeerRef `json:"device"`
	DrainStatus
}

// DrainStatus is a drain as status has it.
type DrainStatus struct {
	Since     time.Time `json:"since"`
	Until     time.Time `json:"until"`     // when what still moves is paused, and the node ends
	Transfers int       `json:"transfers"` // that it waits for
}

// Drain has the node end when the transfers that move now have ended, or after the grace: those that still move are paused then, and go on when the node is up again.
// Meanwhile no session and no transfer begins. Asked again it takes the new grace.
func (d *Daemon) Drain(grace time.Duration) Drained {
	d.drain.mu.Lock()
	now := time.Now()
	d.drain.until = now.Add(grace)
	first := !d.drain.on.Load()
	if first {
		d.drain.since, d.drain.peers = now, map[identity.DeviceID]bool{}
		for _, s := range d.manager.Sessions() {
			d.drain.peers[s.Peer] = true
		}
		d.drain.on.Store(true)
	}
	d.drain.mu.Unlock()
	out := Drained{envelope("drain"), PeerRef{d.cfg.Name, d.self.String()}, *d.drainStatus()}
	switch {
	case grace <= 0 || out.Transfers == 0:
		d.cancel()
	case first:
		d.log.Info("draining: the node ends with the transfers that move", "transfers", out.Transfers, "grace", grace)
		d.spawn(d.drainLoop)
	}
	return out
}

// drainLoop ends the node when nothing moves any more, or time is up.
func (d *Daemon) drainLoop() {
	tick := time.NewTicker(drainLook)
	defer tick.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case now := <-tick.C:
			if s := d.drainStatus(); s.Transfers == 0 || now.After(s.Until) {
				d.log.Info("drained", "paused", s.Transfers)
				d.cancel()
				return
			}
		}
	}
}

// drainStatus is nil unless a drain was asked for.
func (d *Daemon) drainStatus() *DrainStatus {
	if !d.drain.on.Load() {
		return nil
	}
	d.drain.mu.Lock()
	defer d.drain.mu.Unlock()
	return &DrainStatus{d.drain.since, d.drain.until, len(d.table.list(func(t *Transfer) bool {
		return t.Group == "" && (t.State == StateSending || t.State == StateReceiving || t.State == StateVerifying)
	}))}
}

// mayConnect says whose calls are answered: contacts', and of a node that is drained those of contacts whose sessions it has.
func (d *Daemon) mayConnect(id identity.DeviceID) bool {
	if !d.contacts.Knows(id) {
		return false
	}
	if !d.drain.on.Load() {
		return true
	}
	d.drain.mu.Lock()
	defer d.drain.mu.Unlock()
	return d.drain.peers[id]
}

// drained answers a channel that a device opens while the node is drained, and reports whether it did. An offer stays without an answer: its sender takes it up again
// when the session has ended, where a no would be the end of it.
func (d *Daemon) drained(in *connmgr.Incoming) bool {
	if !d.drain.on.Load() || in.Name == pingChannel || in.Name == accountChannel || in.Name == contactsChannel {
		return false
	}
	if _, isFile := transfer.ParseChannelName(in.Name); !isFile {
		_ = in.Decline("the node is being drained")
	}
	return true
}

// begins wraps an answer of the API that begins something, which a node that is drained does not.
func (d *Daemon) begins(w http.ResponseWriter) bool {
	if !d.drain.on.Load() {
		return true
	}
	reply(w, nil, cli.Errorf("E_NO_DAEMON", "the node is being drained").Because(errors.New("it begins nothing more, and ends with what moves")).Hint("see `node status`; again when it is up: node up"))
	return false
}

func (d *Daemon) postDrain(r *http.Request) (any, error) {
	var req DrainRequest
	if err := read(r, &req); err != nil {
		return nil, err
	}
	grace := defaultGrace
	if req.Grace != nil {
		grace = *req.Grace
	}
	if grace < 0 || grace > maxGrace {
		return nil, cli.Errorf("E_USAGE", "a grace of %v is not within 0s and %v", grace, maxGrace)
	}
	return d.Drain(grace), nil
}
