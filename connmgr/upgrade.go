package connmgr

import (
	"context"
	"errors"
	"time"

	"traverse.internal/core/ice"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

// Upgrader is a Pathfinder that can look for direct paths alone. With one, a session that runs over a relay is moved to a direct path
// as soon as there is one (DESIGN.md decision 5).
type Upgrader interface {
	// GatherDirect is Gather for direct paths alone: nothing is allocated at a relay.
	GatherDirect(ctx context.Context) (PathAttempt, error)
	// WantsDirect tells whether a remote offer, which Check has found readable, is one of GatherDirect's.
	WantsDirect(remote []byte) bool
	// MayBeDirect is false where the policy excludes direct paths.
	MayBeDirect() bool
	// Changed is closed when this device's addresses next change.
	Changed() <-chan struct{}
}

var (
	errUpgrading = errors.New("connmgr: an attempt of one's own for a direct path is under way")
	errStays     = errors.New("connmgr: sessions stay on the path they began on")
)

// gatherFor gathers as an answerer: for an offer of direct paths alone no relay is asked.
func (m *Manager) gatherFor(ctx context.Context, from identity.DeviceID, offer []byte) (PathAttempt, error) {
	if m.upgrader != nil && m.upgrader.WantsDirect(offer) && !m.stays(from) {
		return m.gatherDirect(from)(ctx)
	}
	return m.gather(from)(ctx)
}

// upgradesBy tells whether a device's offer is its try for a direct path of a session that is relayed now.
func (m *Manager) upgradesBy(from identity.DeviceID, offer []byte) bool {
	if m.upgrader == nil || !m.upgrader.WantsDirect(offer) {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peers[from]
	return p != nil && p.current != nil && !p.current.over() && p.current.route().Kind == ice.Relayed
}

// yieldLocked settles that both sides try at once: the try of the lower DeviceID stands, the other is given up. Once the peer has
// answered that one it is too late: it answers none while it makes its own, and makes none while it answers.
func (m *Manager) yieldLocked(p *peer) error {
	switch {
	case m.stays(p.id):
		return errStays
	case p.upgrade == nil:
	case m.self.Compare(p.id) < 0:
		return errUpgrading
	case p.upgrade.stage == StageGather, p.upgrade.stage == StageSignal:
		p.upgrade.cancel()
	}
	return nil
}

// upgradeLoop looks for a direct path while the session is relayed. It ends with the session.
func (s *session) upgradeLoop() {
	up := s.m.upgrader
	for {
		changed := up.Changed()
		wait, due := s.upgradeDue(time.Now())
		if due {
			s.tryUpgrade()
			continue
		}
		var timer <-chan time.Time
		var t *time.Timer
		if wait > 0 {
			t = time.NewTimer(wait)
			timer = t.C
		}
		select {
		case <-timer:
		case <-s.moved:
		case <-changed:
			s.mu.Lock()
			s.pace.network(time.Now())
			s.mu.Unlock()
			_ = s.mux.Beacon(s.m.ctx) // a link that died with the address is found now, and replaced
		case <-s.mux.Done():
		}
		if t != nil {
			t.Stop()
		}
		if s.over() {
			return
		}
	}
}

// upgradeDue tells how long to wait before the next look, 0 for until something happens, or that it is time for a try.
func (s *session) upgradeDue(now time.Time) (wait time.Duration, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.link.path.Route
	switch {
	case !s.up || s.over():
		return 0, false
	case r.Kind != ice.Relayed || s.m.stays(s.peer) || r.Reason == reason.RelayPolicy && !s.freed:
		return 0, false
	case now.Before(s.pace.next):
		return s.pace.next.Sub(now), false
	}
	return 0, true
}

// tryUpgrade makes one try and notes how it ended.
func (s *session) tryUpgrade() {
	m := s.m
	s.mu.Lock()
	s.trying = true
	s.mu.Unlock()
	err := s.upgrade()
	s.mu.Lock()
	s.trying = false
	s.mu.Unlock()
	if err == nil {
		m.stats.upgraded.Add(1)
		return
	}
	if m.ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, ErrBusy) {
		s.pace.later(time.Now())
		return
	}
	m.stats.upgradesFailed.Add(1)
	s.pace.tried(time.Now())
}

// upgrade calls for direct paths alone and, with one, moves the session there.
func (s *session) upgrade() error { return s.move(s.m.gatherDirect(s.peer)) }

// move calls for paths of the other kind over the session itself and, with one, moves the session there. What carries it meanwhile goes on
// until the new link does.
func (s *session) move(gather gatherFunc) error {
	m := s.m
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.AttemptTimeout)
	defer cancel()
	a := &attempt{peer: s.peer, resume: s, began: time.Now(), cancel: cancel, stage: StageGather, done: make(chan struct{})}
	m.mu.Lock()
	p := m.peerLocked(s.peer)
	if m.dialling >= m.cfg.MaxAttempts || p.upgrade != nil || p.upgrades > 0 {
		m.changedLocked(p)
		m.mu.Unlock()
		return ErrBusy
	}
	m.dialling++
	p.upgrade = a
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.dialling--
		p := m.peerLocked(s.peer)
		p.upgrade = nil
		m.changedLocked(p)
		m.mu.Unlock()
	}()
	l, err := m.callBy(ctx, a, gather, s.carry)
	if err != nil {
		return err
	}
	if l.path.Route.Kind == s.route().Kind {
		l.close() // the other side was faster
		return nil
	}
	m.enter(a, StageSession)
	return m.attach(ctx, a, l)
}

// waitForDial waits as long as our answer to a try for a direct path is under way, by the session's round trip: when both sides' dials
// leave together, each opens its NAT before the other's comes.
func (m *Manager) waitForDial(ctx context.Context, from identity.DeviceID) {
	m.mu.Lock()
	var s *session
	if p := m.peers[from]; p != nil {
		s = p.current
	}
	m.mu.Unlock()
	if s == nil {
		return
	}
	t := time.NewTimer(min(s.roundTrip()/2, time.Second))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// triedByPeer notes a try of the other side that led to nothing, so that this side does not make the next at once.
func (m *Manager) triedByPeer(from identity.DeviceID) {
	m.mu.Lock()
	var s *session
	if p := m.peers[from]; p != nil {
		s = p.current
	}
	m.mu.Unlock()
	if s != nil {
		s.mu.Lock()
		s.pace.tried(time.Now())
		s.mu.Unlock()
	}
}
