package connmgr

import (
	"context"
	"errors"
	"time"

	"traverse.internal/core/framing"
	"traverse.internal/core/ice"
	"traverse.internal/core/mux"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

// attempt is one outgoing call to a device, shared by all who wait for it.
type attempt struct {
	peer    identity.DeviceID
	resume  *session // the lingering session to attach the new link to; nil for a new session
	began   time.Time
	cancel  context.CancelFunc
	waiters int           // guarded by Manager.mu; at zero the attempt is cancelled
	stage   Stage         // guarded by Manager.mu
	done    chan struct{} // closed under Manager.mu after session and err are set
	session *session
	err     error

	swallowed bool // a direct path was found, and what was said on it did not arrive; the dialling goroutine's own
}

func (a *attempt) finishedLocked() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// startLocked begins an attempt; it attaches to the device's lingering session when there is one.
func (m *Manager) startLocked(p *peer) *attempt {
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.AttemptTimeout)
	a := &attempt{peer: p.id, began: time.Now(), cancel: cancel, stage: StageGather, done: make(chan struct{})}
	if s := p.current; s != nil && !s.over() && !s.linkUp() {
		a.resume = s
	}
	p.dial = a
	m.dialling++
	m.stats.attempts.Add(1)
	m.changedLocked(p)
	m.spawnLocked(func() { m.dialTask(ctx, a) })
	return a
}

// leave is called by a waiter that goes; with the last one an unfinished attempt is cancelled.
func (m *Manager) leave(a *attempt) {
	if a == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.waiters--; a.waiters == 0 {
		a.cancel()
	}
}

// dialTask runs the attempt and tells everybody how it ended.
func (m *Manager) dialTask(ctx context.Context, a *attempt) {
	defer a.cancel()
	m.tell(Event{Kind: EventConnecting, Time: a.began, Peer: a.peer})
	s, err := m.dial(ctx, a)
	if err != nil {
		if m.ctx.Err() != nil {
			err = ErrClosed
		} else {
			err = m.failed(ctx, a, err)
		}
	}
	m.mu.Lock()
	a.session, a.err = s, err
	close(a.done)
	p := m.peerLocked(a.peer)
	p.dial = nil
	m.dialling--
	m.changedLocked(p)
	m.mu.Unlock()
}

func (m *Manager) failed(ctx context.Context, a *attempt, err error) error {
	m.mu.Lock()
	stage := a.stage
	m.mu.Unlock()
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = errors.Join(err, context.Cause(ctx))
	}
	wrapped := &ConnectError{Peer: a.peer, Stage: stage, Err: err}
	m.stats.failures.Add(1)
	m.tell(Event{
		Kind: EventFailed, Time: time.Now(), Peer: a.peer, Setup: time.Since(a.began),
		Reason: wrapped.Reason(), Err: wrapped,
	})
	return wrapped
}

// dial makes the link and puts the session on it.
func (m *Manager) dial(ctx context.Context, a *attempt) (*session, error) {
	l, err := m.call(ctx, a)
	if err != nil {
		return nil, err
	}
	m.enter(a, StageSession)
	if a.resume != nil {
		err := m.attach(ctx, a, l)
		var gone *mux.UnknownSessionError
		if !errors.As(err, &gone) {
			return a.resume, err
		}
		// The peer restarted and knows the session no more: end it here too, and call afresh.
		a.resume.mux.Close()
		a.resume = nil
		if l, err = m.call(ctx, a); err != nil {
			return nil, err
		}
	}
	cfg := m.cfg.Mux
	if cfg.Secret, err = l.tls.Exporter(framing.ExporterLabel); err != nil {
		l.close()
		return nil, err
	}
	cfg.Accounts = m.cfg.Accounts(a.peer)
	ms, err := mux.Start(l.tls, cfg)
	if err != nil {
		l.close()
		return nil, err
	}
	s := newSession(m, ms, a.peer, m.self, l)
	if err := m.register(s, a.began); err != nil {
		return nil, err
	}
	return s, nil
}

// call gathers, exchanges offers, negotiates and secures: what it returns is an authenticated link to the device.
func (m *Manager) call(ctx context.Context, a *attempt) (*link, error) {
	a.swallowed = false
	l, err := m.callBy(ctx, a, m.gather(a.peer), m.ask)
	by, ok := m.cfg.Paths.(DetourPathfinder)
	if err == nil || !ok || !a.swallowed || m.wants(a.peer) != ice.Auto {
		return l, err
	}
	around, second := m.callBy(ctx, a, by.GatherDetour, m.ask)
	if second != nil {
		return nil, err // which says more
	}
	around.path.Route.Reason = reason.RelayDirectDegraded
	return around, nil
}

// DetourPathfinder is a Pathfinder that can leave direct paths out of an attempt, for the time after one that swallowed what was said on it: a path that
// passes small packets only carries ICE's checks and no greeting of TLS.
type DetourPathfinder interface {
	GatherDetour(ctx context.Context) (PathAttempt, error)
}

// callBy is call with a way to gather, and one to exchange offers.
func (m *Manager) callBy(ctx context.Context, a *attempt, gather gatherFunc, exchange callFunc) (_ *link, err error) {
	how, route, at := asked{began: time.Now()}, ice.Route{}, PathAttempt(nil)
	defer func() { m.note(a.peer, ice.Offerer, how, at, route, m.stageIn(a), err) }()
	m.enter(a, StageGather)
	at, err = gather(ctx)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	m.enter(a, StageSignal)
	asking := time.Now()
	answer, by, err := exchange(ctx, a.peer, at.Offer())
	how.by, how.took = by, time.Since(asking)
	if err != nil {
		return nil, err
	}
	m.enter(a, StageNegotiate)
	path, err := at.Negotiate(ctx, ice.Offerer, answer)
	if err != nil {
		var none *ice.NoPathError
		a.swallowed = errors.As(err, &none) && none.Swallowed
		return nil, err
	}
	route = path.Route
	m.enter(a, StageSecure)
	secureCtx, cancel := context.WithTimeout(ctx, m.cfg.SecureTimeout)
	defer cancel()
	l, err := m.secure(secureCtx, path, ice.Offerer, a.peer)
	a.swallowed = err != nil && secureCtx.Err() != nil && ctx.Err() == nil && route.Kind == ice.Direct
	return l, err
}

// attach puts the session, lingering or not, on the new link.
func (m *Manager) attach(ctx context.Context, a *attempt, l *link) error {
	exporter, err := l.tls.Exporter(framing.ExporterLabel)
	if err == nil {
		err = a.resume.mux.Attach(ctx, l.tls, exporter)
	}
	if err != nil {
		l.close()
		return err
	}
	m.attached(a.resume, l, a.began)
	return nil
}

func (m *Manager) enter(a *attempt, s Stage) {
	m.mu.Lock()
	a.stage = s
	m.mu.Unlock()
}

func (m *Manager) stageIn(a *attempt) Stage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return a.stage
}

// stageOf tells a caller who gave up how far the shared attempt had come.
func (m *Manager) stageOf(id identity.DeviceID) Stage {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.peers[id]; p != nil && p.dial != nil {
		return p.dial.stage
	}
	return StageSignal
}

// reasonOf is the reason code of an error that may be nil.
func reasonOf(err error) reason.Code {
	if err == nil {
		return ""
	}
	return reason.Of(err)
}
