package connmgr

import (
	"context"
	"errors"
	"time"

	"traverse.internal/core/framing"
	"traverse.internal/core/ice"
	"traverse.internal/core/mux"
	"traverse.internal/identity"
)

// answer handles one verified request: it readies an attempt, returns its offer, and negotiates on a goroutine of its own.
// An error means silence.
func (m *Manager) answer(ctx context.Context, from identity.DeviceID, offer []byte) ([]byte, error) {
	return m.answerBy(ctx, m.cameBy(ctx), from, offer)
}

// answerBy is answer for a request that came by a route.
func (m *Manager) answerBy(ctx context.Context, by string, from identity.DeviceID, offer []byte) ([]byte, error) {
	// PROTOCOL.md 2: nothing is gathered or allocated for a sender that is not allowed.
	if from == m.self || !m.cfg.Allowed(from) || m.cfg.Revoked(from) {
		m.stats.refused.Add(1)
		return nil, errRefused
	}
	if err := m.cfg.Paths.Check(offer); err != nil {
		m.stats.refused.Add(1)
		return nil, err
	}
	upgrade := m.upgradesBy(from, offer)
	leave, err := m.enterInbound(from, upgrade)
	if err != nil {
		m.stats.refused.Add(1)
		return nil, err
	}
	began := time.Now()
	at, err := m.gatherFor(ctx, from, offer)
	if err == nil {
		// PROTOCOL.md 3: the answerer permits before it answers, so that the caller's first dial to its relay succeeds.
		if err = at.Permit(ctx, offer); err != nil {
			at.Close()
		}
	}
	if err != nil {
		leave()
		return nil, err
	}
	own := at.Offer()
	started := m.spawn(func() {
		defer leave()
		defer at.Close()
		ctx, cancel := context.WithTimeout(m.ctx, m.cfg.AttemptTimeout)
		defer cancel()
		if upgrade {
			m.waitForDial(ctx, from)
		}
		if err := m.meet(ctx, at, from, offer, asked{by: by, began: began}); err != nil {
			if upgrade { // the session is where it was
				m.triedByPeer(from)
				return
			}
			m.stats.answerFailures.Add(1)
			m.tell(Event{
				Kind: EventFailed, Time: time.Now(), Peer: from, Setup: time.Since(began), Reason: reasonOf(err), Err: err,
			})
		}
	})
	if !started {
		leave()
		at.Close()
		return nil, ErrClosed
	}
	return own, nil
}

// enterInbound counts an answered request in, within both limits.
func (m *Manager) enterInbound(from identity.DeviceID, upgrade bool) (leave func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	p := m.peerLocked(from)
	if m.answers >= m.cfg.MaxAttempts || p.inbound+p.upgrades >= m.cfg.MaxInbound {
		m.changedLocked(p)
		return nil, ErrBusy
	}
	count := func(p *peer) *int { return &p.inbound }
	if upgrade {
		if err := m.yieldLocked(p); err != nil {
			m.changedLocked(p)
			return nil, err
		}
		count = func(p *peer) *int { return &p.upgrades }
	}
	m.answers++
	*count(p)++
	m.stats.answered.Add(1)
	m.changedLocked(p)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.answers--
		p := m.peerLocked(from)
		*count(p)--
		m.changedLocked(p)
	}, nil
}

// meet negotiates as the answerer and takes the link for what its first frame says: a new session or a new link for one that lingers.
func (m *Manager) meet(ctx context.Context, at PathAttempt, from identity.DeviceID, offer []byte, how asked) (err error) {
	stage, route := StageNegotiate, ice.Route{}
	defer func() { m.note(from, ice.Answerer, how, at, route, stage, err) }()
	path, err := at.Negotiate(ctx, ice.Answerer, offer)
	if err != nil {
		return &ConnectError{Peer: from, Stage: StageNegotiate, Err: err}
	}
	stage, route = StageSecure, path.Route
	ctx, cancel := context.WithTimeout(ctx, m.cfg.SecureTimeout)
	defer cancel()
	l, err := m.secure(ctx, path, ice.Answerer, from)
	if err != nil {
		return &ConnectError{Peer: from, Stage: StageSecure, Err: err}
	}
	stage = StageSession
	if err := m.take(ctx, l, from, how.began); err != nil {
		return &ConnectError{Peer: from, Stage: StageSession, Err: err}
	}
	return nil
}

// take reads the first frame and acts on it. It owns the link.
func (m *Manager) take(ctx context.Context, l *link, from identity.DeviceID, began time.Time) error {
	unblock := context.AfterFunc(ctx, l.close)
	op, err := mux.Receive(l.tls)
	if !unblock() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		l.close()
		return err
	}
	exporter, err := l.tls.Exporter(framing.ExporterLabel)
	if err != nil {
		l.close()
		return err
	}
	if op.Resume != nil {
		return m.takeResume(ctx, l, from, op, exporter, began)
	}
	cfg := m.cfg.Mux
	cfg.Secret, cfg.Accounts = exporter, m.cfg.Accounts(from)
	ms, err := mux.Answer(l.tls, op, cfg)
	if err != nil {
		l.close()
		return err
	}
	return m.register(newSession(m, ms, from, from, l), began)
}

// takeResume attaches the link to the session it names. Only the same device's session will do; the MAC says the rest.
func (m *Manager) takeResume(ctx context.Context, l *link, from identity.DeviceID, op *mux.Opening, exporter []byte, began time.Time) error {
	s := m.find(from, op.Resume.SessionID)
	if s == nil {
		_ = mux.Refuse(l.tls, framing.GoAway{Code: framing.CodeUnknown, Reason: "unknown session"})
		l.close()
		return errUnknownSession
	}
	if m.stays(from) && s.linkUp() && s.route().Kind == ice.Relayed && l.path.Route.Kind == ice.Direct && s.mux.Beacon(ctx) == nil {
		_ = mux.Refuse(l.tls, framing.GoAway{Code: framing.CodeFenced, Reason: errStays.Error()})
		l.close()
		return errStays
	}
	if err := s.mux.AttachAnswer(ctx, l.tls, op, exporter); err != nil {
		l.close()
		return err
	}
	m.attached(s, l, began)
	return nil
}

var errUnknownSession = errors.New("connmgr: the peer wants to resume a session that is not here")

func (m *Manager) find(id identity.DeviceID, session [16]byte) *session {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.peers[id]; p != nil {
		for s := range p.sessions {
			if s.mux.ID() == session {
				return s
			}
		}
	}
	return nil
}
