package connmgr

import (
	"context"

	"traverse.internal/core/ice"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

// PolicyPathfinder is a Pathfinder that can be told for each attempt which paths are wanted.
type PolicyPathfinder interface {
	GatherWith(ctx context.Context, policy ice.Policy) (PathAttempt, error)
}

// wants is the policy towards the device.
func (m *Manager) wants(id identity.DeviceID) ice.Policy {
	if m.cfg.Policy != nil {
		if _, ok := m.cfg.Paths.(PolicyPathfinder); ok {
			return m.cfg.Policy(id)
		}
	}
	if m.upgrader != nil && !m.upgrader.MayBeDirect() {
		return ice.RelayOnly
	}
	return ice.Auto
}

// stays tells whether sessions with the device are not to be moved to direct paths.
func (m *Manager) stays(id identity.DeviceID) bool {
	return m.cfg.NoUpgrade || m.wants(id) == ice.RelayOnly
}

// gather is the way to gather for the device.
func (m *Manager) gather(id identity.DeviceID) gatherFunc {
	if m.cfg.Policy != nil {
		if by, ok := m.cfg.Paths.(PolicyPathfinder); ok {
			policy := m.cfg.Policy(id)
			return func(ctx context.Context) (PathAttempt, error) { return by.GatherWith(ctx, policy) }
		}
	}
	return m.cfg.Paths.Gather
}

// gatherDirect is the way to gather for direct paths alone.
func (m *Manager) gatherDirect(identity.DeviceID) gatherFunc {
	if by, ok := m.cfg.Paths.(PolicyPathfinder); ok && m.cfg.Policy != nil {
		return func(ctx context.Context) (PathAttempt, error) { return by.GatherWith(ctx, ice.DirectOnly) }
	}
	return m.upgrader.GatherDirect
}

// Repolicy has the sessions with the device follow Config.Policy, which has changed: one that goes another way than is wanted is moved, and
// ends where it cannot be. It returns at once.
func (m *Manager) Repolicy(id identity.DeviceID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peers[id]
	if p == nil {
		return
	}
	for s := range p.sessions {
		m.spawnLocked(s.obey)
	}
}

// obey moves the session to where the policy wants it, or ends it.
func (s *session) obey() {
	policy, route := s.m.wants(s.peer), s.route()
	var err error
	switch {
	case policy == ice.RelayOnly && route.Kind == ice.Direct:
		if !s.revive() {
			err = s.move(s.m.gather(s.peer))
		}
	case policy == ice.DirectOnly && route.Kind == ice.Relayed:
		s.mux.KeepLink(false)
		err = s.upgrade()
	case policy == ice.RelayOnly:
		s.mu.Lock()
		s.link.path.Route.Reason = reason.RelayPolicy
		s.mu.Unlock()
	default:
		s.mu.Lock()
		s.freed = true
		s.mu.Unlock()
		s.lookAgain()
	}
	if policy == ice.DirectOnly {
		s.mux.DropKept()
	}
	if err != nil && s.m.ctx.Err() == nil && s.m.wants(s.peer) == policy && s.route().Kind == route.Kind {
		s.mux.Close()
	}
}
