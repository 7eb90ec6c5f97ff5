package connmgr

import (
	"context"
	"errors"
	"fmt"
	"time"

	"traverse.internal/core/mux"
	"traverse.internal/identity"
)

// Options change how Connect finds its session and opens its channel.
type Options struct {
	ForceNew bool          // make a new session even where there is one; it becomes the current one and the old one drains
	NoNew    bool          // use an existing session, or one in the making, or fail with ErrNoSession
	Unique   bool          // one channel of this name per session: return the open one, whichever side opened it
	Timeout  time.Duration // for the whole call; 0 leaves it to ctx
}

// preferWait bounds how long a caller waits for the other side: for its call, where one is being answered already, and for the preferred session
// where both sides called at once and the other one is there. It is far above a negotiation's time on a working path (median 8 ms) and far below patience.
const preferWait = 2 * time.Second

// Connect returns a channel with the given name to the device, on its session or on a new one.
// Errors are *ConnectError with the stage that failed, *mux.DeclinedError inside it when the other side said no, ErrSelf, ErrBusy or ErrClosed.
func (m *Manager) Connect(ctx context.Context, id identity.DeviceID, name string) (*mux.Channel, Info, error) {
	return m.ConnectWith(ctx, id, name, Options{})
}

// ConnectWith is Connect with options.
func (m *Manager) ConnectWith(ctx context.Context, id identity.DeviceID, name string, opt Options) (*mux.Channel, Info, error) {
	if id == m.self {
		return nil, Info{}, ErrSelf
	}
	if m.cfg.Revoked(id) {
		return nil, Info{}, &ConnectError{Peer: id, Stage: StageGather, Err: errRevoked{}}
	}
	if opt.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, opt.Timeout)
		defer cancel()
	}
	for retry := false; ; retry = true {
		s, err := m.session(ctx, id, opt)
		if err != nil {
			return nil, Info{}, err
		}
		ch, err := s.open(ctx, name, opt.Unique)
		if err == nil {
			return ch, s.info(), nil
		}
		var declined *mux.DeclinedError
		// A session that ended under the request is not the peer's answer: one more try, on a new one.
		if !retry && ctx.Err() == nil && !errors.As(err, &declined) && s.over() {
			opt.ForceNew = false
			continue
		}
		return nil, Info{}, &ConnectError{Peer: id, Stage: StageOpen, Err: err}
	}
}

// session returns a session that takes channels: the current one, or the result of the attempt that all callers share.
func (m *Manager) session(ctx context.Context, id identity.DeviceID, opt Options) (*session, error) {
	began := time.Now()
	var own *attempt // the attempt this call waits for
	defer func() { m.leave(own) }()
	for {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			return nil, ErrClosed
		}
		p := m.peerLocked(id)
		s, wait := m.usableLocked(p)
		if own != nil && own.finishedLocked() {
			if opt.ForceNew && own.session != nil {
				s, wait = own.session, 0
			}
			// The other side's call may still succeed where ours failed.
			if s == nil && (own.err != nil && p.inbound == 0) {
				m.mu.Unlock()
				return nil, own.err
			}
		}
		if s != nil && wait <= 0 && (!opt.ForceNew || own != nil && own.finishedLocked()) {
			m.mu.Unlock()
			return s, nil
		}
		late := time.Since(began) >= preferWait
		if err := m.joinLocked(p, &own, opt, late); err != nil {
			m.changedLocked(p)
			m.mu.Unlock()
			return nil, err
		}
		if own == nil && !late {
			wait = preferWait - time.Since(began) // then call, whatever becomes of the other side's call
		}
		changed := p.changed
		m.mu.Unlock()
		if err := m.await(ctx, id, changed, wait); err != nil {
			return nil, err
		}
	}
}

// joinLocked makes sure that something is on its way that can end in a session, and that own names it where it is an attempt of ours.
func (m *Manager) joinLocked(p *peer, own **attempt, opt Options, late bool) error {
	switch {
	case *own != nil:
		return nil
	case p.inbound > 0 && !opt.ForceNew && !late:
		return nil // the device is calling us: that will do
	case p.dial != nil:
		*own = p.dial
		p.dial.waiters++
		return nil
	case opt.NoNew:
		if p.inbound == 0 && !p.lingering() {
			return ErrNoSession
		}
		return nil
	}
	if m.dialling >= m.cfg.MaxAttempts {
		return ErrBusy
	}
	a := m.startLocked(p)
	a.waiters++
	*own = a
	return nil
}

// usableLocked returns the current session when its link is up. A positive wait asks the caller to give the
// preferred session that long before it takes this one.
func (m *Manager) usableLocked(p *peer) (*session, time.Duration) {
	s := p.current
	if s == nil || s.over() || !s.linkUp() {
		return nil, 0
	}
	preferOwn := m.self.Compare(p.id) < 0
	pending := preferOwn && p.dial != nil && p.dial.resume == nil || !preferOwn && p.inbound > 0
	if !pending || (s.offerer == m.self) == preferOwn {
		return s, 0
	}
	return s, preferWait - time.Since(s.created)
}

// await blocks until the device's state changes, the wait (when positive) is over, or somebody has had enough.
func (m *Manager) await(ctx context.Context, id identity.DeviceID, changed <-chan struct{}, wait time.Duration) error {
	var timer <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-changed:
	case <-timer:
	case <-m.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return &ConnectError{Peer: id, Stage: m.stageOf(id), Err: fmt.Errorf("gave up waiting: %w", context.Cause(ctx))}
	}
	return nil
}

func (p *peer) lingering() bool { return p.current != nil && !p.current.over() }
