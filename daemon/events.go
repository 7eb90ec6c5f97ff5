package daemon

import (
	"context"
	"sync"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/internal/cli"
)

// keptEvents is how many of the last events are kept for those who follow them, one ring for all of them: a transfer's is the largest,
// about 1 KiB, 1 MiB in all. Who falls further behind loses the oldest and is told how many.
const keptEvents = 1024

// The types of event.
const (
	EventTransfer = "transfer" // a transfer began or changed its state
	EventSession  = "session"  // a session with a peer: connecting, failed, connected, ended
	EventPath     = "path"     // its link went down, another came up, or it moved from one path to another
	EventContact  = "contact"  // a contact was added, changed or removed
	EventService  = "service"  // a service was exposed, a forward made, or one of them ended
	EventWarning  = "warning"  // something that somebody should look at, in What
	EventLost     = "lost"     // a follower was too slow, or asked for what is no longer kept
)

// Event is one thing that happened. Seq counts them from 1 since the daemon began, without gaps.
type Event struct {
	cli.Envelope
	Seq      uint64         `json:"seq"`
	Time     time.Time      `json:"time"`
	Type     string         `json:"type"`
	What     string         `json:"what,omitempty"` // what happened, where the object does not say it
	Peer     *PeerRef       `json:"peer,omitempty"`
	From     *Path          `json:"from,omitempty"` // the one before, where a session moved
	Path     *Path          `json:"path,omitempty"`
	Transfer *Transfer      `json:"transfer,omitempty"`
	Contact  *ContactObject `json:"contact,omitempty"`
	Reason   string         `json:"reason,omitempty"`
	Error    string         `json:"error,omitempty"`
	Lost     uint64         `json:"lost,omitempty"` // EventLost: how many
}

// eventRing keeps the last events. Publishing never blocks, whoever follows. Its zero value is ready; it is safe for concurrent use.
type eventRing struct {
	mu      sync.Mutex // guards the fields below
	last    uint64     // number of the newest, 0 before the first
	kept    [keptEvents]Event
	changed chan struct{} // closed and replaced when there is a newer one; nil while nobody waits
}

// publish numbers an event and shows it to whoever follows. The caller sets Type and what belongs to it.
func (r *eventRing) publish(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	e.Envelope, e.Seq = envelope("event"), r.last
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	r.kept[e.Seq%keptEvents] = e
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// newest is the number of the last event.
func (r *eventRing) newest() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// next returns the event after the one numbered seq, waiting for it. Where that one is no longer kept it is an EventLost, numbered
// as the last of those that are gone.
func (r *eventRing) next(ctx context.Context, seq uint64) (Event, error) {
	for {
		r.mu.Lock()
		if seq > r.last {
			seq = r.last // of another daemon's life
		}
		if r.last > seq {
			defer r.mu.Unlock()
			if oldest := max(r.last, keptEvents) - keptEvents + 1; seq+1 < oldest {
				return Event{
					Envelope: envelope("event"), Seq: oldest - 1, Time: time.Now(), Type: EventLost, Lost: oldest - 1 - seq,
				}, nil
			}
			return r.kept[(seq+1)%keptEvents], nil
		}
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// sessionEvent is what the connection manager reports, as those who follow see it.
func (d *Daemon) sessionEvent(e connmgr.Event) Event {
	out := Event{
		Time: e.Time, Type: EventSession, What: string(e.Kind), Peer: &PeerRef{d.contacts.NameOf(e.Peer), e.Peer.String()},
		Path: pathOf(e.Route), Reason: string(e.Reason),
	}
	if e.Kind == connmgr.EventLinkDown || e.Kind == connmgr.EventLinkUp || e.Kind == connmgr.EventPath {
		out.Type = EventPath
	}
	if e.Kind == connmgr.EventPath {
		out.From = pathOf(e.From)
	}
	if e.Err != nil {
		out.Error = e.Err.Error()
	}
	return out
}
