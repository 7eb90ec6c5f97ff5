package mux

import (
	"io"
	"os"

	"traverse.internal/core/bufpool"
)

// Read reads what has come, at least a byte. Behind the peer's end it returns io.EOF; a channel that the peer reset, or
// whose session ended before that, gives the error behind what had come, and never io.EOF.
func (c *Channel) Read(p []byte) (int, error) {
	passed := c.readBy.wait()
	select {
	case <-passed:
		return 0, os.ErrDeadlineExceeded
	default:
	}
	select {
	case c.readers <- struct{}{}:
	case <-passed:
		return 0, os.ErrDeadlineExceeded
	}
	defer func() { <-c.readers }()
	for {
		n, err := c.take(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		select {
		case <-c.readable:
		case <-passed:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// take copies what is there to p and gives the peer its credit back. It returns 0 and nil when there is nothing yet.
func (c *Channel) take(p []byte) (int, error) {
	s := c.s
	s.mu.Lock()
	defer s.unlock()
	n := 0
	for n < len(p) && c.inQueue.len() > 0 {
		k := c.takeChunkLocked(p[n:])
		if k == 0 {
			break // dropped meanwhile
		}
		n += k
		c.in.consume(k)
		s.in.consume(k)
	}
	switch {
	case n > 0:
		s.grantLocked(c)
		return n, nil
	case c.closed:
		return 0, errChannelClosed
	case c.inQueue.len() > 0:
		return 0, nil
	case c.eofIn && !c.dropped:
		return 0, io.EOF
	}
	return 0, c.readErr
}

// takeChunkLocked copies from the first chunk. It unlocks for a long copy; what comes meanwhile goes behind what is
// copied. It returns 0 when the queue was dropped then.
func (c *Channel) takeChunkLocked(p []byte) int {
	chunk := c.inQueue.front()
	src := chunk.mem[chunk.from:chunk.to]
	n := min(len(p), len(src))
	if n <= lockedCopy {
		copy(p, src[:n])
	} else {
		c.reading = true
		c.s.unlock()
		copy(p, src[:n])
		c.s.mu.Lock()
		c.reading = false
		if c.dropped {
			c.releaseFrontLocked()
			return 0
		}
		chunk = c.inQueue.front()
	}
	chunk.from += n
	switch left := chunk.to - chunk.from; {
	case left == 0:
		c.releaseFrontLocked()
	case left <= len(chunk.mem)/4 && len(chunk.mem) > smallBody:
		c.shrinkLocked(chunk)
	}
	return n
}

// smallBody is what the smallest buffers hold; a smaller piece cannot be kept in less.
const smallBody = 512

// shrinkLocked moves what is left in a chunk to a smaller buffer, so that what is unread takes at least a quarter of
// the memory it keeps.
func (c *Channel) shrinkLocked(chunk *inChunk) {
	rest := chunk.mem[chunk.from:chunk.to]
	buf := c.s.takeBufLocked(len(rest))
	mem := whole(buf)
	n := copy(mem, rest)
	c.s.giveBufLocked(chunk.buf)
	*chunk = inChunk{buf: buf, mem: mem, to: n}
}

// whole returns all of a buffer's storage behind its headroom.
func whole(b *bufpool.Buf) []byte {
	b.SetLen(b.Cap())
	return b.Bytes()
}

// takeBufLocked and giveBufLocked count the memory of received bytes.
func (s *Session) takeBufLocked(n int) *bufpool.Buf {
	b := bufpool.Get(n)
	s.rxMemory += b.Cap()
	return b
}

func (s *Session) giveBufLocked(b *bufpool.Buf) {
	s.rxMemory -= b.Cap()
	b.Release()
}

// appendLocked adds a body behind what has come. It takes over buf, if there is one, and reports so.
func (c *Channel) appendLocked(body []byte, buf *bufpool.Buf) bool {
	if buf != nil {
		c.s.rxMemory += buf.Cap()
		c.inQueue.push(inChunk{buf: buf, mem: whole(buf), to: len(body)})
		return true
	}
	if c.inQueue.len() > 0 {
		last := c.inQueue.back()
		n := copy(last.mem[last.to:], body)
		last.to += n
		body = body[n:]
	}
	if len(body) > 0 {
		b := c.s.takeBufLocked(len(body))
		chunk := inChunk{buf: b, mem: whole(b)}
		chunk.to = copy(chunk.mem, body)
		c.inQueue.push(chunk)
	}
	return false
}

func (c *Channel) releaseFrontLocked() { c.s.giveBufLocked(c.inQueue.pop().buf) }

// dropInLocked gives up what is unread, and its credit back. A Read that is copying releases the chunk it copies from.
func (c *Channel) dropInLocked() {
	if c.dropped {
		return
	}
	c.dropped = true
	c.s.endGrowthLocked(c)
	unread := 0
	for i := range c.inQueue.len() {
		chunk := c.inQueue.at(i)
		unread += chunk.to - chunk.from
	}
	c.in.consume(unread)
	c.s.in.consume(unread)
	keep := 0
	if c.reading {
		keep = 1
	}
	for c.inQueue.len() > keep {
		last := c.inQueue.popBack()
		c.s.giveBufLocked(last.buf)
	}
	c.s.grantSessionLocked()
}
