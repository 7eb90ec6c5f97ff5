package mux

import (
	"os"
	"time"

	"traverse.internal/core/bufpool"
)

// Write queues p for the session's writer and returns when all of it is queued, a copy: p may be used again. It waits
// while the peer's windows, the channel's queue or what awaits the peer's acknowledgement are full, also while the
// session has no link; the deadline, Close and a reset end the wait, and then n bytes have been queued.
func (c *Channel) Write(p []byte) (int, error) {
	done, err := c.queue(int64(len(p)), 1, func(done int64) (int, error) { return c.put(p[done:]) })
	return int(done), err
}

// queue calls one, which queues what is allowed of n bytes behind those that are done, until less than least are left.
// Other writers wait meanwhile.
func (c *Channel) queue(n, least int64, one func(done int64) (int, error)) (done int64, err error) {
	passed := c.writeBy.wait()
	select {
	case <-passed:
		return 0, os.ErrDeadlineExceeded
	default:
	}
	select {
	case c.writers <- struct{}{}:
	case <-passed:
		return 0, os.ErrDeadlineExceeded
	}
	defer func() { <-c.writers }()
	for {
		added, err := one(done)
		done += int64(added)
		if err != nil || n-done < least {
			return done, err
		}
		if added > 0 {
			continue
		}
		if err := c.awaitRoom(passed); err != nil {
			return done, err
		}
	}
}

// countLocked notes n more bytes that are to be sent.
func (c *Channel) countLocked(n int) {
	c.out.sent += uint64(n)
	c.s.out.sent += uint64(n)
	c.queued += n
	c.s.queued += n
}

// awaitRoom waits until a Write should try again, and counts how long.
func (c *Channel) awaitRoom(passed <-chan struct{}) error {
	began := time.Now()
	var err error
	select {
	case <-c.writable:
	case <-passed:
		err = os.ErrDeadlineExceeded
	}
	s := c.s
	s.mu.Lock()
	defer s.unlock()
	c.waiting = false
	s.stats.WriteStalls++
	s.stats.WriteStallTime += time.Since(began)
	return err
}

// put queues what is allowed of p. It returns 0 and nil when that is nothing; the channel is then on the list of those
// that wait.
func (c *Channel) put(p []byte) (int, error) {
	s := c.s
	s.mu.Lock()
	defer s.unlock()
	if c.writeErr != nil {
		return 0, c.writeErr
	}
	if len(p) == 0 {
		return 0, nil
	}
	c.byFile = false
	n := c.allowedLocked(len(p))
	if n == 0 {
		c.waitLocked(len(p))
		return 0, nil
	}
	chunk := c.tailLocked(n)
	n = min(n, len(chunk.mem)-chunk.n)
	c.countLocked(n)
	if n <= lockedCopy {
		copy(chunk.mem[chunk.n:], p[:n])
	} else if !c.fillLocked(chunk.mem[chunk.n:], p[:n]) {
		return 0, c.writeErr
	}
	c.outQueue.back().n += n
	c.enterLocked()
	return n, nil
}

// waitLocked puts the channel on the list of those whose Write waits for room.
func (c *Channel) waitLocked(want int) {
	c.waiting, c.wants = true, want
	if !c.enlisted {
		c.enlisted = true
		c.s.waiters = append(c.s.waiters, c)
	}
}

// fillLocked copies without the lock. The writer leaves the chunk alone meanwhile. It reports false when the queue was
// dropped then.
func (c *Channel) fillLocked(dst, src []byte) bool {
	c.filling = true
	c.s.unlock()
	copy(dst, src)
	c.s.mu.Lock()
	c.filling = false
	if !c.outDropped {
		return true
	}
	c.outQueue.pop().release() // the only one left
	return false
}

// allowedLocked returns how many of want bytes may be queued now.
func (c *Channel) allowedLocked(want int) int {
	s := c.s
	kept := s.cfg.SessionWindow
	if c.priority == Bulk {
		kept -= kept / 8 // room for a message while bulk waits for the peer's ACK
	}
	limit := queueLimit
	if c.byFile {
		limit = fileQueue
	}
	if c.queued >= limit || s.queued+s.retained.bytes >= kept {
		return 0
	}
	window, free := s.limits.window, s.out.credit()
	fair := fairShare(window, free, s.limits.session)
	if want > s.limits.body+tailBody {
		want = s.limits.body
	}
	return int(share(uint64(want), c.out.credit(), c.out.held(window), fair, free))
}

// tailLocked returns the chunk that the next bytes, n as allowedLocked says, go into: the last one while it has room,
// so that many short writes make one frame.
func (c *Channel) tailLocked(n int) *outChunk {
	if c.outQueue.len() > 0 {
		if last := c.outQueue.back(); last.n < len(last.mem) {
			return last
		}
	}
	if body := c.s.limits.body; n > body { // two frames, with room for the second one's header
		buf := bufpool.Get(n + c.s.codec.HeaderSize())
		c.outQueue.push(outChunk{buf: buf, mem: buf.Bytes()[:n]})
	} else {
		if c.outQueue.len() > 0 {
			n = min(body, max(n, 4*c.queued)) // there is a backlog: more will follow
		}
		buf := bufpool.Get(n)
		mem := whole(buf)
		c.outQueue.push(outChunk{buf: buf, mem: mem[:min(len(mem), body)]})
	}
	return c.outQueue.back()
}

// wakeWriterLocked lets a Write that waits look again.
func (c *Channel) wakeWriterLocked() {
	if c.waiting {
		c.waiting = false
		notify(c.writable)
	}
}

// wakeWaitersLocked wakes the Writes that could go on now.
func (s *Session) wakeWaitersLocked() {
	still := s.waiters[:0]
	for _, c := range s.waiters {
		switch {
		case !c.waiting:
			c.enlisted = false
		case c.allowedLocked(c.wants) > 0:
			c.enlisted = false
			c.wakeWriterLocked()
		default:
			still = append(still, c)
		}
	}
	clear(s.waiters[len(still):])
	s.waiters = still
}

// dropOutLocked gives up what has not been given to the writer, and takes its count back: the peer will never see it. A
// Write that is copying releases the chunk it copies to.
func (c *Channel) dropOutLocked() {
	if c.outDropped {
		return
	}
	c.outDropped = true
	c.forgetFileLocked()
	s := c.s
	s.out.sent -= uint64(c.queued)
	s.queued -= c.queued
	c.queued = 0
	keep := 0
	if c.filling {
		keep = 1
	}
	for c.outQueue.len() > keep {
		c.outQueue.pop().release()
	}
	s.wakeWaitersLocked()
}
