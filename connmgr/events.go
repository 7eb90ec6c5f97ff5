package connmgr

import (
	"sync"
	"time"

	"traverse.internal/core/ice"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

// EventKind says what an Event reports.
type EventKind string

// The kinds of event, in the order in which a session's life shows them.
const (
	EventConnecting EventKind = "connecting" // an attempt toward the device began
	EventFailed     EventKind = "failed"     // that attempt ended without a session; Err says why
	EventNewDevice  EventKind = "new-device" // first session with the device since the Manager was made; once per device
	EventConnected  EventKind = "connected"  // a session registered
	EventLinkDown   EventKind = "link-down"  // its link died; the session lingers
	EventLinkUp     EventKind = "link-up"    // a new link was attached
	EventPath       EventKind = "path"       // the session has moved from one kind of path to another, From and Route; Reason is the new one's
	EventEnded      EventKind = "ended"      // the session is over; once per session
)

// Event is one thing that happened to the connections with one device.
type Event struct {
	Kind    EventKind
	Time    time.Time
	Peer    identity.DeviceID
	Session [16]byte      // zero for EventConnecting and EventFailed
	Route   ice.Route     // of the link, where there is one
	From    ice.Route     // EventPath: of the link before
	Setup   time.Duration // EventConnected, EventLinkUp, EventPath, EventFailed: time since the attempt began
	Kept    bool          // EventLinkUp, EventPath: the link is one that was kept since the session moved away from it
	Alive   bool          // EventPath: the link before still lived when this one took over
	Reason  reason.Code   // EventFailed, EventLinkDown, EventEnded, EventPath: the cause's code, if it has one
	Err     error         // the same events: the cause; nil for a clean end
}

// maxEvents bounds the queue between the Manager and a slow observer: 1,024 events of about 250 bytes are 256 KiB.
// Past it the oldest is dropped and counted; what matters is in Sessions and Stats.
const maxEvents = 1024

// eventQueue hands events to the observer on a goroutine of its own, in order, never under a lock: an
// observer may call any method of the Manager, Close included.
type eventQueue struct {
	observe func(Event)

	mu      sync.Mutex // guards the fields below
	pending []Event
	dropped uint64
	closed  bool
	wake    chan struct{}
}

func newEventQueue(observe func(Event)) *eventQueue {
	return &eventQueue{observe: observe, wake: make(chan struct{}, 1)}
}

func (q *eventQueue) push(e Event) {
	if q.observe == nil {
		return
	}
	q.mu.Lock()
	if len(q.pending) == maxEvents {
		q.pending = q.pending[1:]
		q.dropped++
	}
	q.pending = append(q.pending, e)
	q.mu.Unlock()
	q.signal()
}

func (q *eventQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

func (q *eventQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// deliverLoop ends after close, when everything queued has been delivered.
func (q *eventQueue) deliverLoop() {
	for {
		q.mu.Lock()
		batch, closed := q.pending, q.closed
		q.pending = nil
		q.mu.Unlock()
		for _, e := range batch {
			q.observe(e)
		}
		if len(batch) == 0 {
			if closed {
				return
			}
			<-q.wake
		}
	}
}
