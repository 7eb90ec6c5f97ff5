package mux

import (
	"traverse.internal/core/framing"
)

// ending is how a session takes its leave.
type ending uint8

const (
	endSilent ending = iota // the link is dropped as it is
	endGoAway               // what is queued is dropped, GOAWAY sent
	endFlush                // what is queued is sent, then GOAWAY
)

// endLocked ends the session, once: the first cause is kept.
func (s *Session) endLocked(err error, how ending, bye *framing.GoAway) {
	if s.err != nil {
		return
	}
	s.err = err
	close(s.ended)
	s.ackTimer.Stop()
	s.beatTimer.Stop()
	s.lingerTimer.Stop()
	s.downLocked()
	if s.kept != nil {
		s.giveUpLocked(s.kept)
	}
	if s.link == nil {
		how = endSilent
	}
	for _, c := range s.channels {
		c.failLocked(err)
		if how != endFlush {
			c.dropOutLocked()
		}
	}
	if how == endSilent {
		if s.link != nil {
			s.giveUpLocked(s.link)
		}
		s.finishLocked()
		return
	}
	s.bye = bye
	s.byeTimer.Reset(closeTime)
	s.kickLocked()
}

// saidBye notes that nothing more is written on the link.
func (s *Session) saidBye(l *link) {
	s.mu.Lock()
	defer s.unlock()
	l.said = true
	s.partLocked(l)
}

// partLocked gives the link up when both sides have said their last word on it: else each would wait for the other to
// close.
func (s *Session) partLocked(l *link) {
	if l.said && l.heardBye {
		s.giveUpLocked(l)
	}
}

// byeTick drops the link of a peer that takes too long to say good-bye.
func (s *Session) byeTick() {
	s.mu.Lock()
	defer s.unlock()
	if s.link != nil {
		s.giveUpLocked(s.link)
	}
}

// finishLocked lets everything go when the session has ended and nobody works on it any more.
func (s *Session) finishLocked() {
	if s.err == nil || s.running > 0 || isClosed(s.done) {
		return
	}
	s.byeTimer.Stop()
	for _, c := range s.channels {
		c.dropOutLocked()
	}
	clear(s.channels)
	s.releaseLocked()
	close(s.done)
}

// Close ends the session in good order: every channel fails at once with ErrClosed here, what has been written goes
// out, for at most a second, then GOAWAY. On the other side a channel that had been closed here ends with io.EOF,
// others with a *GoAwayError. Without a link it ends at once. Close returns when all goroutines have. It is idempotent
// and returns nil.
func (s *Session) Close() error {
	s.mu.Lock()
	for _, c := range s.channels {
		c.failLocked(ErrClosed)
		c.dropInLocked()
	}
	s.endLocked(ErrClosed, endFlush, &framing.GoAway{Code: framing.CodeShuttingDown, Reason: "session closed"})
	s.unlock()
	<-s.done
	return nil
}

// Revoke ends the session because the peer's device is no longer allowed: every channel fails, what is queued is dropped, and the peer is
// told so. It returns when all goroutines have ended, after a second at most. Idempotent.
func (s *Session) Revoke(why string) {
	s.mu.Lock()
	gone := &GoAwayError{Code: framing.CodeRevoked, Reason: why}
	for _, c := range s.channels {
		c.failLocked(gone)
		c.dropInLocked()
	}
	s.endLocked(gone, endGoAway, &framing.GoAway{Code: framing.CodeRevoked, Reason: why})
	s.unlock()
	<-s.done
}

// PeerAccounts waits for the peer's HELLO and returns the device lists it says it knows; false when the session ended before.
func (s *Session) PeerAccounts() ([]framing.AccountVersion, bool) {
	select {
	case <-s.helloed:
	case <-s.ended:
		if !isClosed(s.helloed) {
			return nil, false
		}
	}
	s.mu.Lock()
	defer s.unlock()
	return s.accounts, true
}

// GoAway lets the session drain: neither side opens new channels from now on, requests are declined, and the session
// ends when the last channel has. Without a link the peer learns it from the next one. It returns the session's error
// when that has ended.
func (s *Session) GoAway(reason string) error {
	s.mu.Lock()
	defer s.unlock()
	if s.err != nil {
		return s.err
	}
	if s.drain == nil {
		s.drain = &GoAwayError{Code: framing.CodeNone, Reason: reason}
	}
	s.control.goAway = &framing.GoAway{Code: framing.CodeNone, Reason: reason}
	s.kickLocked()
	s.drainLocked()
	return nil
}

// goneAwayLocked obeys the peer's GOAWAY.
func (s *Session) goneAwayLocked(m *framing.GoAway) {
	err := &GoAwayError{Code: m.Code, Reason: m.Reason, Remote: true}
	if m.Code != framing.CodeNone {
		s.endLocked(err, endSilent, nil)
		return
	}
	if s.drain == nil {
		s.drain = err
	}
	s.drainLocked()
}

// drainLocked ends a draining session when it has no channel left, and no request.
func (s *Session) drainLocked() {
	if s.drain == nil || len(s.channels) > 0 {
		return
	}
	err := error(s.drain)
	if !s.drain.Remote {
		err = ErrClosed
	}
	s.endLocked(err, endFlush, &framing.GoAway{Code: framing.CodeShuttingDown, Reason: s.drain.Reason})
}
