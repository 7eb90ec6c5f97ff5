package connmgr

import (
	"context"
	"io"
	"time"

	"traverse.internal/core/ice"
)

// DefaultWarm is as long as the death of a direct path counts: a path that lives longer is as good as the relay.
const DefaultWarm = deathWindow

// maxWarm bounds the links that are kept, over all devices. Each holds a connection to the relay with its TLS and a read buffer, some 120 KiB, and
// one allocation at our relay or at the peer's: 8 are half of what a relay lends one user by default (16), the rest is for new calls. 8 * 120 KiB are 1 MiB.
const maxWarm = 8

// reviveTime is how long the peer may take to answer on the link that was kept: as long as for a beacon.
const reviveTime = 3 * time.Second

// keepIfRelayed says to the mux whether the present link is to stay when another takes over.
func (s *session) keepIfRelayed() {
	s.mux.KeepLink(s.m.cfg.Warm > 0 && s.route().Kind == ice.Relayed)
}

// keepWarm closes the link that was replaced, unless the mux has kept it: then that is watched over.
func (s *session) keepWarm(l *link) {
	kept, back, gone := s.mux.Kept()
	if kept == nil || kept != io.ReadWriteCloser(l.tls) {
		l.close()
		return
	}
	m := s.m
	s.mu.Lock()
	s.warm = l
	s.mu.Unlock()
	m.mu.Lock()
	m.warm = append(m.warm, s)
	var oldest *session
	if len(m.warm) > maxWarm {
		oldest = m.warm[0]
	}
	started := m.spawnLocked(func() { s.warmLoop(l, back, gone) })
	m.mu.Unlock()
	if !started {
		s.coolDown(l)
	}
	if oldest != nil {
		oldest.mux.DropKept()
	}
}

// warmLoop waits until the kept link carries the session again or is of no use any more.
func (s *session) warmLoop(l *link, back, gone <-chan struct{}) {
	t := time.NewTimer(s.m.cfg.Warm)
	defer t.Stop()
	select {
	case <-back:
	case <-gone:
	case <-s.mux.Done():
	case <-t.C:
	}
	select {
	case <-back:
		s.m.forgetWarm(s)
		s.m.attached(s, l, time.Now()) // unless revive was faster
	default:
		s.coolDown(l)
	}
}

// coolDown lets the kept link go, where it has not come back meanwhile.
func (s *session) coolDown(l *link) {
	if kept, _, _ := s.mux.Kept(); kept == io.ReadWriteCloser(l.tls) {
		s.mux.DropKept()
	}
	s.m.forgetWarm(s)
	s.mu.Lock()
	if s.warm == l {
		s.warm = nil
	}
	carries := s.link == l
	s.mu.Unlock()
	if !carries {
		l.close()
	}
}

func (m *Manager) forgetWarm(s *session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, other := range m.warm {
		if other == s {
			m.warm = append(m.warm[:i:i], m.warm[i+1:]...)
			return
		}
	}
}

// revive goes back to the link that was kept. It reports whether the session has a link.
func (s *session) revive() bool {
	s.mu.Lock()
	l := s.warm
	s.mu.Unlock()
	if l == nil {
		return false
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(s.m.ctx, reviveTime)
	defer cancel()
	if err := s.mux.Revive(ctx); err != nil && s.mux.Link() != io.ReadWriteCloser(l.tls) { // the other side may have revived it,
		return s.linkUp() // or brought another
	}
	s.m.attached(s, l, began)
	return true
}
