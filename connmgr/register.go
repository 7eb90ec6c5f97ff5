package connmgr

import (
	"context"
	"slices"
	"time"
)

// maxSessions bounds the sessions with one device: the current one, a rival being judged, and those that drain, which end when their
// last channel does, and so when the peer likes. Each may hold two windows of 8 MiB and a socket: 8 * 16 MiB = 128 MiB a contact at worst.
const maxSessions = 8

// register makes the session known, judges it against the one that was current, and starts its goroutines.
// On an error the session is closed.
func (m *Manager) register(s *session, began time.Time) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		s.mux.Close()
		s.dropLink()
		return ErrClosed
	}
	if m.cfg.Revoked(s.peer) { // while the two were finding each other
		m.mu.Unlock()
		s.mux.Revoke("the device is revoked")
		s.dropLink()
		return errRevoked{}
	}
	p := m.peerLocked(s.peer)
	old := p.current
	p.sessions[s] = struct{}{}
	rival := old != nil && !old.over() && old.linkUp() && old.offerer != s.offerer
	if !rival {
		p.current = s
	}
	_, seen := m.known[s.peer]
	m.known[s.peer] = struct{}{}
	m.stats.established(s.route())
	m.spawnLocked(s.acceptLoop)
	m.spawnLocked(s.watchLoop)
	if m.upgrader != nil && !m.cfg.NoUpgrade {
		m.spawnLocked(s.upgradeLoop)
	}
	if m.cfg.Greeted != nil {
		m.spawnLocked(s.greet)
	}
	m.crowdedLocked(p)
	m.mu.Unlock()

	if !seen {
		m.tell(s.event(EventNewDevice, began))
	}
	s.keepIfRelayed()
	m.tell(s.event(EventConnected, began))
	switch {
	case old == nil:
	case !rival:
		old.supersede()
	default:
		m.settle(p, old, s)
	}
	m.mu.Lock()
	m.changedLocked(p)
	m.mu.Unlock()
	return nil
}

// crowdedLocked closes the oldest draining sessions beyond what one device may have.
func (m *Manager) crowdedLocked(p *peer) {
	excess := len(p.sessions) - maxSessions
	if excess <= 0 {
		return
	}
	var draining []*session
	for s := range p.sessions {
		if s.draining.Load() {
			draining = append(draining, s)
		}
	}
	slices.SortFunc(draining, func(a, b *session) int { return a.created.Compare(b.created) })
	for _, s := range draining[:min(excess, len(draining))] {
		m.spawnLocked(func() { s.mux.Close() })
	}
}

// settle judges two live sessions that were called from opposite sides. PROTOCOL.md 3: the lower DeviceID's offer wins, on both
// sides alike. But an older session that answers no beacon is what a peer leaves behind that lost power, not a rival.
func (m *Manager) settle(p *peer, old, s *session) {
	winner, loser := old, s
	lower := m.self
	if s.peer.Compare(lower) < 0 {
		lower = s.peer
	}
	if s.offerer == lower {
		winner, loser = s, old
		m.spawn(func() { _ = old.mux.Beacon(m.ctx) }) // it loses either way; a dead one should not wait for an idle beacon to notice
	} else if old.mux.Beacon(m.ctx) != nil { // not the attempt's context: its waiters may be content by now
		winner, loser = s, old
		old.mux.Close() // nobody is there to drain
	}
	m.mu.Lock()
	if p.current == old || p.current == nil {
		p.current = winner
	}
	m.mu.Unlock()
	m.stats.glares.Add(1)
	loser.supersede()
}

// unregister forgets a session that is over.
func (m *Manager) unregister(s *session) {
	m.mu.Lock()
	p := m.peerLocked(s.peer)
	if _, known := p.sessions[s]; known {
		st := s.mux.Stats()
		m.opened += st.Opened + st.Accepted
		m.fileSent += st.FileSent
		m.fileCopied += st.FileCopied
	}
	delete(p.sessions, s)
	if p.current == s {
		p.current = nil
		for other := range p.sessions { // a draining one does not count
			if !other.draining.Load() {
				p.current = other
			}
		}
	}
	m.changedLocked(p)
	m.mu.Unlock()
}

// attached notes that the mux has taken a new link: for one that died, or to move the session to another path.
func (m *Manager) attached(s *session, l *link, began time.Time) {
	before, alive, kept, ok := s.setLink(l)
	if !ok {
		return
	}
	from := before.path.Route
	s.keepWarm(before)
	to := l.path.Route
	m.stats.established(to)
	moved := from.Kind != to.Kind
	if !alive || !moved {
		m.stats.resumed.Add(1)
		e := s.event(EventLinkUp, began)
		e.Kept = kept
		m.tell(e)
	}
	if kept {
		m.stats.revived.Add(1)
	}
	if moved {
		m.stats.migrated(from, to)
		e := s.event(EventPath, began)
		e.From, e.Reason, e.Kept, e.Alive = from, to.Reason, kept, alive
		m.tell(e)
	}
	m.mu.Lock()
	m.changedLocked(m.peerLocked(s.peer))
	m.mu.Unlock()
}

// greet hands on what the peer's HELLO says of device lists.
func (s *session) greet() {
	if lists, ok := s.mux.PeerAccounts(); ok {
		s.m.cfg.Greeted(s.peer, lists)
	}
}

// Revoke ends every session with the device with AUTH_REVOKED, on both sides, and waits for them. It reports how many there were. Config.Revoked keeps it away.
func (m *Manager) Revoke(id [32]byte) int {
	m.mu.Lock()
	var all []*session
	if p := m.peers[id]; p != nil {
		for s := range p.sessions {
			all = append(all, s)
		}
	}
	m.mu.Unlock()
	for _, s := range all {
		s.mux.Revoke("the device is revoked")
	}
	return len(all)
}

// Disconnect closes every session with the device: its channels end on both sides. It reports how many there were.
func (m *Manager) Disconnect(id [32]byte) int {
	m.mu.Lock()
	var all []*session
	if p := m.peers[id]; p != nil {
		for s := range p.sessions {
			all = append(all, s)
		}
	}
	m.mu.Unlock()
	for _, s := range all {
		s.mux.Close()
	}
	return len(all)
}

// Heard is for a device that has said, beside any session, that it is there now: a session with it that has lost its link looks for another at once, and Heard
// reports true; one that has a link asks for a sign of life on it, since the device may know of a break that this side does not.
func (m *Manager) Heard(id [32]byte) (broken bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peers[id]
	if p == nil {
		return false
	}
	for s := range p.sessions {
		switch {
		case s.over():
		case s.linkUp():
			m.spawnLocked(func() { _ = s.mux.Beacon(m.ctx) })
		default:
			broken = true
			select {
			case s.heard <- struct{}{}:
			default:
			}
		}
	}
	return broken
}

// Probe sends a beacon on every session: call it when the network changed. A session whose peer does not
// answer in time loses its link and lingers.
func (m *Manager) Probe(ctx context.Context) {
	m.mu.Lock()
	all := m.sessionsLocked()
	m.mu.Unlock()
	for _, s := range all {
		m.spawn(func() { _ = s.mux.Beacon(ctx) })
	}
}
