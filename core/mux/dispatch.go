package mux

import (
	"time"

	"traverse.internal/core/bufpool"
	"traverse.internal/core/framing"
)

// dataLocked takes a body. Taken is whether it has taken over buf.
//
// The rule for a number without an open channel: a body that was on its way when the channel ended, or while our RESET
// is, is counted, its credit given back, and dropped. On a number that was never a channel, or whose request has no
// answer yet, nothing can be on its way: the session ends.
func (s *Session) dataLocked(id framing.ChannelID, body []byte, buf *bufpool.Buf) (taken bool, err error) {
	if !s.in.receive(len(body)) {
		return false, violation("channel %d: %d bytes of body beyond the session's window", id, uint64(len(body))-s.in.room())
	}
	c := s.channels[id]
	switch {
	case c == nil && !s.used.has(id):
		return false, violation("body on channel %d, which was never open", id)
	case c == nil || c.phase == phaseReset:
		s.stats.Dropped++
		s.in.consume(len(body))
		s.grantSessionLocked()
		return false, nil
	case c.phase != phaseOpen:
		return false, violation("body on channel %d before the answer", id)
	case c.eofIn:
		return false, violation("body on channel %d behind its end", id)
	case !c.in.receive(len(body)):
		return false, violation("channel %d: %d bytes of body beyond its window", id, uint64(len(body))-c.in.room())
	}
	c.bytesIn += uint64(len(body))
	if c.pace.edge != 0 && c.in.received > c.pace.edge {
		s.tripLocked(c.pace.crossed(time.Since(s.created)))
	}
	if c.closed {
		s.discardLocked(c, len(body))
		return false, nil
	}
	taken = c.appendLocked(body, buf)
	notify(c.readable)
	return taken, nil
}

// discardLocked throws away a body for a channel that was closed here. Its credit goes back, so that the peer's writer
// gets along, until our own end is on its way; then the peer is told that nobody reads.
func (s *Session) discardLocked(c *Channel, n int) {
	s.stats.Dropped++
	c.in.consume(n)
	s.in.consume(n)
	if c.eofSent {
		s.grantSessionLocked()
		s.resetLocked(c, framing.CodeNotReading, "")
		return
	}
	s.grantLocked(c)
}

// eofLocked takes the end of the peer's direction of a channel.
func (s *Session) eofLocked(id framing.ChannelID) error {
	c := s.channels[id]
	switch {
	case c == nil && !s.used.has(id):
		return violation("end of channel %d, which was never open", id)
	case c == nil || c.phase == phaseReset:
		s.stats.Dropped++
		return nil
	case c.phase != phaseOpen:
		return violation("end of channel %d before the answer", id)
	case c.eofIn:
		return violation("second end of channel %d", id)
	}
	c.eofIn = true
	s.endGrowthLocked(c)
	notify(c.readable)
	s.endIfOverLocked(c)
	return nil
}

// grantLocked tells the peer about room on a channel and in the session, when that is due.
func (s *Session) grantLocked(c *Channel) {
	drained := c.inQueue.len() == 0 && c.in.dueDrained(&s.in)
	if c.phase == phaseOpen && !c.eofIn && (drained || c.in.due()) {
		s.growLocked(c)
		s.maxLocked(c)
	}
	s.grantSessionLocked()
}

func (s *Session) grantSessionLocked() {
	if !s.control.maxSession && s.in.due() && s.err == nil {
		s.control.maxSession = true
		s.kickLocked()
	}
}

// maxLocked queues a MAX.
func (s *Session) maxLocked(c *Channel) {
	if c.maxDue || s.err != nil {
		return
	}
	c.maxDue = true
	s.control.maxes.push(c)
	s.kickLocked()
}

// endIfOverLocked ends a channel whose directions have both ended.
func (s *Session) endIfOverLocked(c *Channel) {
	if c.eofIn && c.eofSent && c.phase == phaseOpen {
		if !c.inbound {
			s.restLocked(c.id)
		}
		s.removeLocked(c)
	}
}

// removeLocked takes a channel out of the session: its number is free again.
func (s *Session) removeLocked(c *Channel) {
	if c.phase == phaseEnded {
		return
	}
	if c.phase == phaseRequested {
		s.pending--
		s.inbox.remove(func(r *Request) bool { return r.c == c })
	}
	c.answeredLocked()
	s.endGrowthLocked(c)
	c.phase = phaseEnded
	if s.channels[c.id] == c {
		delete(s.channels, c.id)
	}
	if c.inbound {
		s.inbound--
	} else {
		s.outbound--
	}
	c.doneLocked()
	s.drainLocked()
}
