package mux

import (
	"slices"
	"time"
)

// pace decides when a channel's window is too small for its path. It is pure: times are since the session's creation.
//
// The window is the limit when all of it comes in about a round trip, and the reader makes room for it; it is then
// doubled, until it is at least twice what a round trip brings. What comes is what counts: a reader that wakes late
// reads a long backlog in no time, and a longer window would only make that longer. 200 µs are the shortest round trip
// that counts: on loopback that makes 1 or 2 MiB, with less the two ends spend more on waking each other than on the bytes,
// with more a ping waits longer (16 MiB: 13 ms) and nothing is gained.
type pace struct {
	since time.Duration
	from  uint64 // received then

	// A round trip is measured from a MAX to the first byte beyond the limit before it, which the peer cannot have sent
	// sooner. A peer that was not waiting for it makes it look longer, hence the least counts.
	edge uint64 // limit before the MAX; 0: none under way
	told time.Duration
}

const leastTrip = 200 * time.Microsecond

// tell notes that a MAX goes out, the limit so far being limit.
func (p *pace) tell(limit uint64, now time.Duration) {
	if p.edge == 0 {
		p.edge, p.told = limit, now
	}
}

// crossed returns how long the round trip took whose end a window of received bytes has seen.
func (p *pace) crossed(now time.Duration) time.Duration {
	p.edge = 0
	return max(1, now-p.told)
}

// short tells, once per window received, whether that took at most two round trips.
func (p *pace) short(w *recvWindow, now, trip time.Duration) bool {
	came := w.received - p.from
	if came < w.size {
		return false
	}
	took := now - p.since
	p.since, p.from = now, w.received
	return float64(took)*float64(w.size) <= 2*float64(max(trip, leastTrip))*float64(came)
}

// tripLocked takes a round trip that was measured.
func (s *Session) tripLocked(d time.Duration) {
	if s.trip == 0 || d < s.trip {
		s.trip = d
	}
}

// growLocked doubles a channel's window when it is short, up to Config.WindowMax. The session's grows by the same
// amount, so that a long window takes nothing from what the other channels share, up to Config.SessionWindow.
func (s *Session) growLocked(c *Channel) {
	if c.phase != phaseOpen || c.eofIn || c.closed || !c.pace.short(&c.in, time.Since(s.created), s.trip) {
		return
	}
	size := c.in.size
	more := min(size, uint64(s.cfg.WindowMax)-size)
	if more > s.spare {
		s.narrowLocked(size)
	}
	if more = min(more, s.spare); more == 0 {
		return
	}
	if size == c.in.initial {
		s.wide = append(s.wide, c)
	}
	s.spare -= more
	c.in.size += more
	s.in.size += more
}

// narrowLocked takes half of the widest channel's window back, when that leaves twice the given size: of two that want
// all, none has more than four times the other's. What was announced stands; it is announced no further until the
// reader has caught up.
func (s *Session) narrowLocked(size uint64) {
	var widest *Channel
	for _, c := range s.wide {
		if widest == nil || c.in.size > widest.in.size {
			widest = c
		}
	}
	if widest != nil && widest.in.size >= 4*size {
		s.giveBackLocked(widest, widest.in.size/2)
	}
}

// endGrowthLocked gives back what a channel's window has grown by, when nothing more is to come in it.
func (s *Session) endGrowthLocked(c *Channel) {
	if c.in.size == c.in.initial {
		return
	}
	s.giveBackLocked(c, c.in.size-c.in.initial)
}

func (s *Session) giveBackLocked(c *Channel, n uint64) {
	c.in.size -= n
	s.in.size -= n
	s.spare += n
	if c.in.size == c.in.initial {
		s.wide = slices.DeleteFunc(s.wide, func(w *Channel) bool { return w == c })
	}
}
