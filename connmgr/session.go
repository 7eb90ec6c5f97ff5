package connmgr

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/core/ice"
	"traverse.internal/core/mux"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

// session is one mux session with a device and the link that carries it now.
type session struct {
	m        *Manager
	mux      *mux.Session
	peer     identity.DeviceID
	offerer  identity.DeviceID // who called when the session was made
	created  time.Time
	draining atomic.Bool
	unique   uniqueNames

	moved chan struct{} // holds a token when the path has changed, for upgradeLoop
	heard chan struct{} // holds a token when the peer has said that it is there, for relink

	offering atomic.Bool // an offer that came over the session is being answered

	mu     sync.Mutex // guards the fields below
	link   *link      // the last one attached; closed when it died
	up     bool
	warm   *link // the relayed one before, which the mux keeps; nil: none
	pace   pace
	trip   time.Duration // a message and its answer, as measured once; 0: not yet
	trying bool          // for a direct path, at the moment
	freed  bool          // the policy that had it relayed is another now
}

// Info is what a caller learns about the session its channel runs on.
type Info struct {
	Peer      identity.DeviceID
	SessionID [16]byte
	Route     ice.Route
	Found     reason.Code // the route's reason by the attempt that found it; Route says RELAY_PENDING_PUNCH while a direct path is being tried
}

func newSession(m *Manager, ms *mux.Session, peer, offerer identity.DeviceID, l *link) *session {
	s := &session{m: m, mux: ms, peer: peer, offerer: offerer, created: time.Now(), moved: make(chan struct{}, 1), heard: make(chan struct{}, 1), link: l, up: true}
	s.pace.between = m.cfg.Repunch
	if m.self.Compare(peer) > 0 {
		s.pace.patience = upgradeFirst // the lower DeviceID tries
	}
	if l.path.Route.Kind == ice.Relayed {
		s.pace.relayed(s.created)
	}
	return s
}

func (s *session) info() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := Info{Peer: s.peer, SessionID: s.mux.ID(), Route: s.link.path.Route, Found: s.link.path.Route.Reason}
	if s.pendingLocked() {
		i.Route.Reason = reason.RelayPendingPunch
	}
	return i
}

// pendingLocked tells whether a try for a direct path is under way, or the first one since the session is relayed is still to come.
func (s *session) pendingLocked() bool {
	r := s.link.path.Route
	switch {
	case r.Kind != ice.Relayed || !s.up || s.m.upgrader == nil || s.m.stays(s.peer) || s.over():
		return false
	case r.Reason == reason.RelayPolicy && !s.freed, r.Reason == reason.RelayDirectDegraded, r.Reason == reason.RelayFamilyMismatch:
		return false // that says more
	}
	return s.trying || s.pace.fails == 0
}

func (s *session) route() ice.Route {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link.path.Route
}

// inKernel tells whether the present or last link's records are the kernel's.
func (s *session) inKernel() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.link.tls.(interface{ InKernel() bool }) // over UDP there is no kernel TLS
	return ok && l.InKernel()
}

func (s *session) linkUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up
}

// over tells whether the session has ended or takes no new channels.
func (s *session) over() bool {
	select {
	case <-s.mux.Done():
		return true
	default:
		return s.draining.Load() || s.mux.Draining()
	}
}

// setLink notes the link that the mux has just taken, and returns the one before it, whether that was alive, and whether the new one
// is the one that was kept; ok is false when the mux has taken another meanwhile, whoever attached that one notes it and this one is closed, and when
// the link was noted already.
func (s *session) setLink(l *link) (before *link, alive, kept, ok bool) {
	s.mu.Lock()
	if s.link == l && s.up {
		s.mu.Unlock()
		return nil, false, false, false
	}
	if now := s.mux.Link(); now != nil && now != io.ReadWriteCloser(l.tls) {
		s.mu.Unlock()
		l.close()
		return nil, false, false, false
	}
	before, alive, kept = s.link, s.up, s.warm == l
	from, to := before.path.Route, &l.path.Route
	switch {
	case to.Kind == ice.Relayed && s.m.wants(s.peer) == ice.RelayOnly:
		to.Reason = reason.RelayPolicy
	case from.Kind == ice.Direct && to.Kind == ice.Relayed && to.Reason != reason.RelayPolicy:
		to.Reason = reason.RelayDirectDegraded
	}
	if alive && from.Kind == ice.Direct && to.Kind == ice.Relayed && to.Reason != reason.RelayPolicy {
		s.pace.died(time.Now()) // the other side noticed first
	}
	if to.Kind == ice.Relayed {
		s.pace.relayed(time.Now())
	} else {
		s.pace.direct()
	}
	s.link, s.up, s.freed = l, true, false
	if kept {
		s.warm = nil
	}
	s.mu.Unlock()
	if from.Kind == ice.Relayed && to.Kind == ice.Direct {
		s.mux.Watch(max(s.m.cfg.Warm, probation))
	}
	s.keepIfRelayed()
	s.lookAgain()
	return before, alive, kept, true
}

// lookAgain wakes upgradeLoop.
func (s *session) lookAgain() {
	select {
	case s.moved <- struct{}{}:
	default:
	}
}

// dropDead is dropLink for a link that died, and notes that a direct path did. It does nothing where the link was replaced meanwhile.
func (s *session) dropDead() bool {
	s.mu.Lock()
	l := s.link
	if s.mux.Link() == io.ReadWriteCloser(l.tls) {
		s.mu.Unlock()
		return false
	}
	s.up = false
	if l.path.Route.Kind == ice.Direct {
		s.pace.died(time.Now())
	}
	s.mu.Unlock()
	l.close()
	return true
}

// dropLink closes the link; the session may linger without one.
func (s *session) dropLink() {
	s.mu.Lock()
	l := s.link
	s.up = false
	s.mu.Unlock()
	l.close()
}

// supersede lets the session drain: no new channels, the end with its last one. One without a link has nobody to drain to.
func (s *session) supersede() {
	s.draining.Store(true)
	if !s.mux.Stats().LinkUp || s.mux.GoAway("superseded") != nil {
		s.mux.Close()
	}
}

func (s *session) event(kind EventKind, began time.Time) Event {
	return Event{
		Kind: kind, Time: time.Now(), Peer: s.peer, Session: s.mux.ID(), Route: s.route(), Setup: time.Since(began),
	}
}

// relinkDelays are the pauses before a session with open channels is given a new link. The offerer begins at once; the answerer leaves it
// the first seconds, so that the two do not call each other at the same moment.
var relinkDelays = []time.Duration{0, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}

const answererPatience = 5 * time.Second

// watchLoop follows the session's links until it is over.
func (s *session) watchLoop() {
	for {
		select {
		case <-s.mux.Done():
			s.dropLink()
			s.m.unregister(s)
			s.m.tell(Event{
				Kind: EventEnded, Time: time.Now(), Peer: s.peer, Session: s.mux.ID(), Route: s.route(),
				Reason: reasonOf(s.mux.Err()), Err: s.mux.Err(),
			})
			return
		case <-s.mux.LinkDown():
			if s.mux.Err() == nil {
				s.linkLost()
			}
			if !s.linkUp() || s.mux.Err() != nil {
				<-s.mux.Done() // no link came, so the end has
			}
		}
	}
}

// linkLost closes the dead path and goes back to the link that was kept; without one, where channels are open, it calls again until there is a link or the session is over. Without a link it closes the session.
func (s *session) linkLost() {
	e := s.event(EventLinkDown, time.Now())
	e.Err = s.mux.LinkErr()
	if !s.dropDead() {
		return
	}
	s.m.tell(e)
	s.m.mu.Lock()
	s.m.changedLocked(s.m.peerLocked(s.peer))
	s.m.mu.Unlock()
	if s.revive() {
		return
	}
	if s.draining.Load() || s.mux.Stats().Channels == 0 {
		s.mux.Close()
		return
	}
	s.m.stats.linksLost.Add(1)
	s.relink()
	if !s.linkUp() {
		s.mux.Close()
	}
}

func (s *session) relink() {
	patience := time.Duration(0)
	if s.offerer != s.m.self {
		patience = answererPatience
	}
	for try := 0; ; try++ {
		delay := patience + relinkDelays[min(try, len(relinkDelays)-1)]
		patience = 0
		t := time.NewTimer(delay)
		select {
		case <-t.C:
		case <-s.heard:
			t.Stop()
		case <-s.mux.Done():
			t.Stop()
			return
		}
		if s.over() || s.linkUp() {
			return
		}
		// Connect's own machinery shares the attempt with whoever asks for a channel meanwhile, and attaches.
		ctx, cancel := context.WithTimeout(s.m.ctx, s.m.cfg.AttemptTimeout)
		_, err := s.m.session(ctx, s.peer, Options{})
		cancel()
		if err == nil || s.over() || s.linkUp() {
			return
		}
	}
}
