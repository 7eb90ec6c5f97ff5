package mux

import (
	"traverse.internal/core/framing"
)

// resetLocked ends an open channel, or takes a request back, from this side.
func (s *Session) resetLocked(c *Channel, code framing.Code, reason string) {
	c.phase = phaseReset
	c.reset = framing.Reset{Channel: c.id, Code: code, Reason: reason}
	s.resetFrameLocked(resetFrame{Reset: c.reset})
	c.failLocked(&ResetError{Code: code, Reason: reason})
	c.dropOutLocked()
	c.dropInLocked()
}

// resetFrame is a RESET that waits to be sent.
type resetFrame struct {
	framing.Reset
	answer bool
}

// resetFrameLocked queues a RESET.
func (s *Session) resetFrameLocked(m resetFrame) {
	if m.answer {
		s.control.resetAnswers++
	}
	s.control.resets.push(m)
	s.kickLocked()
}

// resetByPeerLocked obeys the peer's RESET, and answers it unless it is the answer to ours.
//
// One for a number without a channel is answered too: the channel ended here when the peer's RESET was under way, or
// our answer was lost with a link. CodeNone says that it is an answer itself; so they do not go back and forth for
// ever.
func (s *Session) resetByPeerLocked(m *framing.Reset) error {
	s.stats.ResetsIn++
	c := s.channels[m.Channel]
	if c != nil && c.phase == phaseReset {
		s.removeLocked(c)
		return nil
	}
	if c == nil && m.Code == framing.CodeNone {
		return nil
	}
	if s.control.resetAnswers > s.cfg.MaxChannels+s.limits.channels { // more than there can be channels
		return &ProtocolError{Code: framing.CodeLimit, What: "RESETs whose answers are not read"}
	}
	s.resetFrameLocked(resetFrame{Reset: framing.Reset{Channel: m.Channel, Code: framing.CodeNone}, answer: true})
	if c == nil {
		return nil
	}
	c.failLocked(&ResetError{Code: m.Code, Reason: m.Reason, Remote: true})
	if c.phase == phaseOpening {
		close(c.answered)
	}
	c.dropOutLocked() // what has come stays to be read: it may be what CloseWithError flushed
	s.removeLocked(c)
	return nil
}
