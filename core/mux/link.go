package mux

import (
	"io"
	"sync/atomic"
	"time"

	"traverse.internal/core/framing"
)

// link is one stream that carries, or carried, a session. It has two goroutines of its own, readLoop and writeLoop.
type link struct {
	s    *Session
	rwc  io.ReadWriteCloser
	kick chan struct{} // holds a token while there may be something to write
	gone chan struct{} // closed when the link is given up
	// heard is when the last byte came, since the session's creation in nanoseconds.
	heard atomic.Int64

	parser   framing.Parser // the reader's
	speed    speed          // the writer's
	courtesy courtesy       // the writer's
	gauge    *gauge         // the writer's; nil: nobody tells

	// Guarded by the session's mu.
	first    framing.Message // HELLO or RESUME to be written before everything else
	early    []framing.Reset // behind that, and before what is sent again
	greeted  bool            // the peer's first frame has been read
	rxPos    uint64          // as Session.received, for what this link has brought, be it new or known
	txPos    uint64          // where in the retained stream its writer is
	finished bool            // given up
	exporter []byte          // that its RESUMEs are bound to
	running  bool            // its goroutines are
	kept     bool            // replaced, and may come back
	back     chan struct{}   // of a kept link: closed when it carries the session again
	asked    *framing.Resume // sent on the kept link, or about to be, and not answered
	said     bool            // our last GOAWAY has been written
	heardBye bool            // the peer's has been read, after our session ended
}

func (s *Session) newLink(rwc io.ReadWriteCloser, exporter []byte) *link {
	l := &link{s: s, rwc: rwc, gauge: gaugeOf(rwc), kick: make(chan struct{}, 1), gone: make(chan struct{}), exporter: exporter}
	l.hear()
	return l
}

// most is how many bytes the next write may have.
func (l *link) most() int {
	if l.speed.slow {
		return l.courtesy.most()
	}
	return maxBatch
}

// hear notes that bytes have come.
func (l *link) hear() { l.heard.Store(int64(time.Since(l.s.created))) }

// installLocked lets l carry the session from now on, and fences the link before it.
func (s *Session) installLocked(l *link) {
	if l.kept {
		l.kept, s.kept = false, nil
		close(l.back)
	}
	switch old := s.link; {
	case old == nil || old == l:
	case s.keepLink && old.greeted && s.err == nil:
		s.keepLocked(old)
	default:
		s.giveUpLocked(old)
	}
	s.link, s.keepLink = l, false
	if s.isDown {
		s.down, s.isDown = make(chan struct{}), false
	}
	s.batch.drop() // the old writer may still be writing from it
	s.lingerTimer.Stop()
	s.live.reset()
	s.live.watched, s.live.soonSet = 0, false
	s.trip = 0
	if l.greeted {
		s.beatTimer.Reset(s.cfg.BeaconAfter)
	} else {
		s.beatTimer.Reset(firstFrameTime)
	}
	if l.running {
		return // it was kept
	}
	l.running = true
	s.running += 2
	go l.readLoop()
	go l.writeLoop()
}

// giveUpLocked makes a link carry nothing any more; unlock closes it.
func (s *Session) giveUpLocked(l *link) {
	if l.finished {
		return
	}
	l.finished = true
	close(l.gone)
	s.dead = append(s.dead, l.rwc)
	if s.link == l {
		s.link = nil
	}
	if s.kept == l {
		s.kept, l.kept = nil, false
	}
	s.unaskLocked(l)
}

// lost takes note that a link cannot be used any more. When it carried the session, the session lingers.
func (s *Session) lost(l *link, err error) {
	s.mu.Lock()
	defer s.unlock()
	s.lostLocked(l, err)
}

func (s *Session) lostLocked(l *link, err error) {
	if s.link != l {
		s.giveUpLocked(l)
		return
	}
	s.giveUpLocked(l)
	s.beatTimer.Stop()
	if s.err != nil {
		return
	}
	s.linkErr = err
	if !isClosed(s.helloed) { // nothing has been agreed that could be resumed
		s.endLocked(&LinkError{Cause: err}, endSilent, nil)
		return
	}
	s.lingerTimer.Reset(s.cfg.Linger)
	if s.attaching == 0 { // else the peer may have closed it for the new one
		s.downLocked()
	}
}

func (s *Session) downLocked() {
	if s.isDown {
		return
	}
	s.isDown = true
	close(s.down)
	if s.err == nil {
		s.stats.LinksLost++
	}
}

func (s *Session) lingerTick() {
	s.mu.Lock()
	defer s.unlock()
	if s.link == nil {
		s.endLocked(&LinkError{Linger: s.cfg.Linger, Cause: s.linkErr}, endSilent, nil)
	}
}

// exit ends one of a link's goroutines.
func (s *Session) exit() {
	s.mu.Lock()
	defer s.unlock()
	s.running--
	s.finishLocked()
}

// resyncLocked says again on a new link what is not retained (docs/protocol/mux.md 7.3): the windows, RESETs without an
// answer, that the session drains, what has been received. It goes behind the retained frames, so that no RESET
// overtakes a frame of its channel.
func (s *Session) resyncLocked() {
	s.control.resets.reset() // answers are asked for again, if need be
	s.control.resetAnswers = 0
	s.control.maxSession, s.control.ack, s.control.ackAnyway = true, true, true
	if s.drain != nil && !s.drain.Remote {
		s.control.goAway = &framing.GoAway{Code: framing.CodeNone, Reason: s.drain.Reason}
	}
	for _, c := range s.channels {
		switch c.phase {
		case phaseOpen:
			if c.in.limit > c.in.initial {
				s.maxLocked(c)
			}
		case phaseReset:
			if c.toldEarly {
				c.toldEarly = false
				continue
			}
			s.resetFrameLocked(resetFrame{Reset: c.reset})
		}
	}
}
