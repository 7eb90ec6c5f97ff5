package mux

import (
	"context"
	"time"

	"traverse.internal/core/framing"
)

// liveness decides when to ask the peer for a sign of life and when to give the link up. It is pure: times are since
// the session's creation.
type liveness struct {
	after, timeout time.Duration
	asked          time.Duration
	asking         bool
}

// sign is what liveness wants.
type sign uint8

const (
	signWait sign = iota // look again later
	signAsk              // send a BEACON and look again later
	signDead
)

func (v *liveness) reset() { v.asking = false }

// tick decides at now, when the last byte came at heard. Any byte is a sign of life.
func (v *liveness) tick(now, heard time.Duration) (sign, time.Duration) {
	if v.asking && heard >= v.asked {
		v.asking = false
	}
	switch {
	case v.asking && now-v.asked >= v.timeout:
		return signDead, 0
	case v.asking:
		return signWait, v.asked + v.timeout - now
	case now-heard >= v.after:
		v.asking, v.asked = true, now
		return signAsk, v.timeout
	}
	return signWait, heard + v.after - now
}

// beatTick looks after the link.
func (s *Session) beatTick() {
	s.mu.Lock()
	defer s.unlock()
	l := s.link
	if l == nil || s.err != nil {
		return
	}
	if !l.greeted {
		s.lostLocked(l, errLateHello)
		return
	}
	verdict, again := s.live.tick(time.Since(s.created), time.Duration(l.heard.Load()))
	switch verdict {
	case signDead:
		s.lostLocked(l, ErrNoBeaconAnswer)
		return
	case signAsk:
		s.askLocked()
	}
	s.beatTimer.Reset(again)
}

// askLocked queues a BEACON and returns its nonce. One that has not been sent yet serves again.
func (s *Session) askLocked() uint64 {
	if !s.control.beacon {
		s.nextNonce++
		s.control.beacon, s.control.nonce = true, s.nextNonce
		s.stats.BeaconsOut++
		s.kickLocked()
	}
	return s.control.nonce
}

// beaconLocked answers the peer's BEACON, or takes its answer.
func (s *Session) beaconLocked(m *framing.Beacon) {
	if !m.Answer {
		s.control.echo, s.control.echoNonce = true, m.Nonce
		s.kickLocked()
		return
	}
	// The peer answers the newest of several: that is a sign of life for those before it too.
	for nonce, answered := range s.probes {
		if nonce <= m.Nonce {
			delete(s.probes, nonce)
			close(answered)
		}
	}
}

// Beacon asks the peer for a sign of life now, say because the network has changed, and waits for it. Without one in
// Config.BeaconTimeout the link is dropped, the session lingers, and the error is ErrNoBeaconAnswer; it is ErrLinkDown
// when there is no link or it is lost meanwhile. A context that is done first only ends the wait.
func (s *Session) Beacon(ctx context.Context) error {
	s.mu.Lock()
	l := s.link
	if s.err != nil || l == nil {
		err := s.err
		s.unlock()
		if err == nil {
			err = ErrLinkDown
		}
		return err
	}
	asked := time.Since(s.created)
	nonce := s.askLocked()
	answered := s.probes[nonce]
	if answered == nil {
		answered = make(chan struct{})
		if s.probes == nil {
			s.probes = map[uint64]chan struct{}{}
		}
		s.probes[nonce] = answered
	}
	s.unlock()

	timer := time.NewTimer(s.cfg.BeaconTimeout)
	defer timer.Stop()
	var err error
	select {
	case <-answered:
		return nil
	case <-l.gone:
		err = ErrLinkDown
	case <-ctx.Done():
		err = contextError(ctx)
	case <-timer.C:
		err = ErrNoBeaconAnswer
	}
	s.mu.Lock()
	defer s.unlock()
	delete(s.probes, nonce)
	if err == ErrNoBeaconAnswer {
		if time.Duration(l.heard.Load()) > asked {
			return nil // busy, but alive
		}
		s.lostLocked(l, err)
	}
	return err
}
