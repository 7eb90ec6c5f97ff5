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

	watched time.Duration // until when less silence is taken
	owed    time.Duration // how much, while the peer owes an ACK; 0: it owes none
	soonSet bool          // the timer is set for what is owed
}

// While a link is watched.
const (
	watchIdle  = 5 * time.Second        // how much silence is taken while nothing is owed
	watchLeast = 250 * time.Millisecond // and at least, while something is: five times as long as an ACK may wait
	watchTrips = 4                      // round trips; where those are longer
)

// busyLeast is how much silence is taken at least while the peer owes an ACK and the link is not watched: ACKs come every 50 ms while bytes do.
const busyLeast = 2 * time.Second

// patience is how much silence is taken at now.
func (v *liveness) patience(now time.Duration) time.Duration {
	switch {
	case now >= v.watched && v.owed > 0:
		return min(max(v.owed, busyLeast), v.after)
	case now >= v.watched:
		return v.after
	case v.owed > 0:
		return min(v.owed, v.after)
	}
	return min(watchIdle, v.after)
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
		return signWait, v.soon(now, v.asked+v.timeout-now)
	case now-heard >= v.patience(now):
		v.asking, v.asked = true, now
		return signAsk, v.soon(now, v.timeout)
	}
	return signWait, v.soon(now, heard+v.patience(now)-now)
}

// soon has a watched link looked at again before something that comes to be owed meanwhile waits long.
func (v *liveness) soon(now, wait time.Duration) time.Duration {
	if now < v.watched {
		return min(wait, watchLeast)
	}
	return wait
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
	s.live.owed, s.live.soonSet = 0, false
	// While a new link is being attached the peer may have moved there already, and owes nothing here: that has a limit of its own.
	if s.retained.sent > s.retained.acked && (s.attaching == 0 || time.Since(s.created) < s.live.watched) {
		s.live.owed, s.live.soonSet = max(watchLeast, watchTrips*s.trip), true
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

// owedLocked has the link looked at soon, when something was sent after a time in which the peer owed nothing: the timer may be set far off.
func (s *Session) owedLocked(l *link) {
	v := &s.live
	if v.soonSet || !l.greeted || s.retained.sent == s.retained.acked || time.Since(s.created) < v.watched {
		return
	}
	v.soonSet = true
	s.beatTimer.Reset(min(busyLeast, s.cfg.BeaconAfter))
}

// Watch has the link that carries the session now, which is young, looked at closely for so long: the peer is asked for a sign of life after
// 5 s of silence, and after four round trips (250 ms at least) while it owes an ACK.
func (s *Session) Watch(d time.Duration) {
	s.mu.Lock()
	defer s.unlock()
	if s.link == nil || s.err != nil || !s.link.greeted {
		return
	}
	s.live.watched = time.Since(s.created) + d
	s.beatTimer.Reset(min(watchLeast, s.cfg.BeaconAfter))
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
	switch {
	case err != ErrNoBeaconAnswer:
	case time.Duration(l.heard.Load()) > asked:
		return nil // busy, but alive
	case s.link != l:
		return ErrLinkDown // another carries the session, and this one may be kept
	default:
		s.lostLocked(l, err)
	}
	return err
}
