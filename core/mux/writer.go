package mux

import (
	"time"

	"traverse.internal/core/framing"
)

// writeLoop is the only writer of its link: one Write for all that is queued, up to maxBatch.
func (l *link) writeLoop() {
	s := l.s
	defer s.exit()
	for {
		b, ok := l.next()
		if !ok {
			return
		}
		began, n := time.Now(), len(b.data)
		var err error
		if b.frame != nil {
			n = b.frame.n
			err = l.writeFile(b.frame)
		} else {
			_, err = l.writeAll(b.data)
		}
		l.speed.wrote(n, time.Since(began), l.courtesy.rate)
		b.release()
		if err != nil {
			s.lost(l, noEOF(err))
			return
		}
		if b.last {
			s.saidBye(l)
			return // the reader waits for the peer's last word, or for it to close
		}
	}
}

// next waits for something to write.
func (l *link) next() (batch, bool) {
	for {
		wait := l.backlogWait()
		b, ok := l.poll(wait > 0)
		if !ok || !b.empty() {
			return b, ok
		}
		var over <-chan time.Time
		if wait > 0 {
			over = time.After(wait)
		}
		select {
		case <-l.kick:
		case <-over:
		case <-l.gone:
			return batch{}, false
		}
	}
}

// backlogWait returns how long channels with a backlog must not be served.
func (l *link) backlogWait() time.Duration {
	now := time.Since(l.s.created)
	if l.gauge == nil || !l.courtesy.wanted(now, l.speed.slow) {
		return 0
	}
	if now < l.courtesy.until {
		return l.courtesy.until - now
	}
	f, ok := l.gauge.read()
	if !ok {
		return 0
	}
	return l.courtesy.wait(now, f)
}

// poll returns what there is to write, and false when the link carries the session no more. The backlog may have to wait.
func (l *link) poll(wait bool) (batch, bool) {
	s := l.s
	s.mu.Lock()
	defer s.unlock()
	if l.kept {
		return s.gatherKeptLocked(l), true
	}
	if s.link != l {
		return batch{}, false
	}
	b := s.gatherLocked(l, wait && s.bye == nil && s.err == nil)
	if !b.empty() {
		s.stats.LinkWrites++
		s.stats.LinkBytesOut += uint64(b.len())
		s.owedLocked(l)
	}
	return b, true
}

// gatherLocked puts together the next write: what is owed on channel 0xffff, then on a resumed link the retained
// frames, then requests and answers, RESETs, and the channels in turn. Data is nil when there is nothing. With wait, what
// channels with a backlog have stays.
func (s *Session) gatherLocked(l *link, wait bool) batch {
	s.batch.begin(s.queued, l.most())
	known := l.txPos < s.retained.sent
	plain := l.first == nil && !known && s.err == nil
	if s.ring.owed && plain && !wait && !s.fullLocked() {
		s.ring.owed = false
		if b := s.gatherBacklogLocked(1); !b.empty() {
			return b.on(l, s)
		}
		if s.batch.room() < smallest {
			return s.finishBatchLocked().on(l, s)
		}
	}
	s.gatherFirstLocked(l)
	if s.err == nil {
		s.gatherBeaconsLocked()
	}
	if known {
		if s.batch.len() == 0 {
			return s.resendLocked(l)
		}
		return s.finishBatchLocked()
	}
	if s.err == nil {
		s.gatherControlLocked()
	}
	if !s.fullLocked() && s.gatherRequestsLocked() && s.gatherResetsLocked() {
		if b := s.gatherDataLocked(l, wait); !b.empty() {
			return b.on(l, s)
		}
	}
	l.txPos = s.retained.sent
	last := s.batch.len() == 0 && s.bye != nil
	if last {
		s.controlFrame(s.bye)
		s.bye = nil
	}
	b := s.finishBatchLocked()
	b.last = last
	return b
}

// on notes that l's writer has everything.
func (b batch) on(l *link, s *Session) batch {
	l.txPos = s.retained.sent
	return b
}

// finishBatchLocked returns what has been gathered.
func (s *Session) finishBatchLocked() batch {
	g := &s.batch
	if g.len() == 0 {
		if g.keep == 0 || s.retained.bytes == 0 {
			g.drop() // an idle session holds no buffer
		}
		return batch{}
	}
	return batch{buf: g.buf.Retain(), data: g.mem[g.start:g.end]}
}

// resendLocked returns the next frames that the peer has not received.
func (s *Session) resendLocked(l *link) batch {
	b := s.retained.from(l.txPos)
	l.txPos += uint64(b.len())
	s.stats.BytesResent += uint64(b.len())
	s.retained.trim(l.txPos)
	return b
}

// fullLocked tells whether so much waits for the peer's ACK that nothing may be added. Writes have stopped 1 MiB
// before: it is frames of channel 0, and ends, which a peer makes us send that acknowledges nothing.
func (s *Session) fullLocked() bool { return s.retained.bytes >= s.cfg.SessionWindow+controlSlack }

// gatherDataLocked adds a frame of every interactive and fresh channel, and more of interactive ones, then a frame of
// those in the backlog and of bulk while there is room. A long body at their front goes alone and uncopied when nothing
// else is in the batch; otherwise it comes first next time.
func (s *Session) gatherDataLocked(l *link, wait bool) batch {
	r := &s.ring
	for c := r.short(); c != nil; c = r.short() {
		switch {
		case !c.sendableLocked():
			r.served(c, false)
		case c.directLocked():
			r.demote(c)
		case s.frameLocked(c):
			r.served(c, c.sendableLocked())
			if r.longs() > 0 {
				l.courtesy.ask(time.Since(s.created))
			}
		default:
			r.owed = r.longs() > 0
			return s.finishBatchLocked()
		}
	}
	if wait {
		return batch{}
	}
	return s.gatherBacklogLocked(r.longs())
}

// gatherBacklogLocked adds a frame of at most turns channels of the backlog. It returns a batch when that is complete.
func (s *Session) gatherBacklogLocked(turns int) batch {
	r := &s.ring
	for served := 0; served < turns && r.longs() > 0; {
		c := r.long()
		switch {
		case !c.sendableLocked():
			r.served(c, false)
			turns--
		case c.directLocked() && (!s.link.speed.slow || c.outQueue.front().file != nil):
			if s.batch.len() > 0 {
				r.owed = served == 0
				return s.finishBatchLocked()
			}
			b := s.takeDirectLocked(c)
			r.served(c, c.sendableLocked())
			return b
		case s.frameLocked(c):
			r.served(c, c.sendableLocked())
			served++
		default:
			r.owed = served == 0
			return s.finishBatchLocked()
		}
	}
	return batch{}
}

// sendableLocked tells whether the writer can take anything from the channel.
func (c *Channel) sendableLocked() bool {
	if c.phase != phaseOpen || c.outDropped {
		return false
	}
	if c.outQueue.len() == 0 {
		return c.flushing || c.eofOut && !c.eofSent
	}
	return !c.filling || c.outQueue.len() > 1
}

// directLocked tells whether the channel's next body is long enough to be written from where it is.
func (c *Channel) directLocked() bool {
	if c.outQueue.len() == 0 || c.filling && c.outQueue.len() == 1 {
		return false
	}
	first := c.outQueue.front()
	if first.file != nil {
		return true
	}
	return first.n >= directBody && first.taken == 0
}

// takeDirectLocked makes a frame of the channel's first chunk, in its own buffer; two when it is too long for one.
func (s *Session) takeDirectLocked(c *Channel) batch {
	if c.outQueue.front().file != nil {
		return s.takeFileLocked(c)
	}
	chunk := c.outQueue.pop()
	first, second := min(chunk.n, s.limits.body), chunk.n-s.limits.body
	head := s.frameHeader(first, c.id)
	chunk.buf.SetLen(chunk.n)
	if second > 0 {
		chunk.buf.SetLen(chunk.n + len(head))
		rest := chunk.buf.Bytes()[first:]
		copy(rest[len(head):], rest)
		s.codec.AppendHeader(rest[:0], framing.Header{Length: uint16(second), Channel: c.id})
		s.stats.FramesOut++
	}
	copy(chunk.buf.Prepend(len(head)), head)
	data := chunk.buf.Bytes()
	s.retained.add(chunk.buf, data)
	s.sentLocked(c, chunk.n)
	return batch{buf: chunk.buf, data: data}
}

// frameHeader returns the header of a body of n bytes, valid until the next.
func (s *Session) frameHeader(n int, id framing.ChannelID) []byte {
	return s.codec.AppendHeader(s.control.header[:0], framing.Header{Length: uint16(n), Channel: id})
}

// frameLocked adds one frame of the channel, of its short chunks, and its end when that is next. It reports false when
// there is no room.
func (s *Session) frameLocked(c *Channel) bool {
	g := &s.batch
	head := s.codec.HeaderSize()
	n := c.shortLocked(s.limits.body)
	if n > 0 {
		room := g.room() - head
		if room < min(n, smallest) {
			return false
		}
		n = min(n, room)
		at := g.end
		g.wrote(s.codec.AppendHeader(g.tail(), framing.Header{Length: uint16(n), Channel: c.id}))
		for left := n; left > 0; {
			left -= c.moveLocked(g, left)
		}
		g.retain(&s.retained, g.mem[at:g.end])
		s.sentLocked(c, n)
	}
	if c.outQueue.len() == 0 && c.flushing {
		s.resetLocked(c, c.reset.Code, c.reset.Reason) // in the next batch
		return true
	}
	if c.outQueue.len() > 0 || !c.eofOut || c.eofSent {
		return true
	}
	if g.room() < head {
		return n > 0
	}
	g.retain(&s.retained, g.wrote(s.codec.AppendHeader(g.tail(), framing.Header{Channel: c.id})))
	s.stats.FramesOut++
	c.eofSent = true
	s.endIfOverLocked(c)
	return true
}

// shortLocked returns how many bytes lie in chunks in front of the first that is long or being filled, at most limit.
func (c *Channel) shortLocked(limit int) int {
	n := 0
	for i := range c.outQueue.len() {
		if c.filling && i == c.outQueue.len()-1 {
			break
		}
		chunk := c.outQueue.at(i)
		if i > 0 && (chunk.n >= directBody || chunk.file != nil) {
			break
		}
		if n += chunk.n - chunk.taken; n >= limit {
			return limit
		}
	}
	return n
}

// moveLocked copies at most n bytes of the first chunk to the batch.
func (c *Channel) moveLocked(g *gather, n int) int {
	chunk := c.outQueue.front()
	n = min(n, chunk.n-chunk.taken)
	g.wrote(append(g.tail(), chunk.mem[chunk.taken:chunk.taken+n]...))
	chunk.taken += n
	if chunk.taken == chunk.n {
		c.outQueue.pop().release()
	}
	return n
}

// sentLocked counts a frame with n bytes of body that has been given to the writer.
func (s *Session) sentLocked(c *Channel, n int) {
	c.queued -= n
	s.queued -= n
	c.bytesOut += uint64(n)
	s.stats.BytesOut += uint64(n)
	s.stats.FramesOut++
	c.wakeWriterLocked()
}
