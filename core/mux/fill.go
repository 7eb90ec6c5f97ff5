package mux

// SendsFiles tells whether the present link sends bytes of files by itself: then what is in a file should be given by
// ReadFrom, else by Fill.
func (c *Channel) SendsFiles() bool {
	s := c.s
	s.mu.Lock()
	defer s.unlock()
	if s.link == nil {
		return false
	}
	sender, ok := s.link.rwc.(fileSender)
	return ok && sender.SendsFiles()
}

// Fill is Write of n bytes that nobody has yet: put is called, with a part of the queue's own memory each time, until it
// has made all of them. So what is read from a file is not copied once more. Put must not use the channel, and not keep
// its argument; when it fails, what it has been given then is not sent, and Fill returns its error and how many bytes
// have been queued before. Other writers wait meanwhile.
func (c *Channel) Fill(n int, put func(p []byte) error) (int, error) {
	done, err := c.queue(int64(n), 1, func(done int64) (int, error) { return c.fill(n-int(done), put) })
	return int(done), err
}

// fill queues what is allowed of n bytes, as Channel.put does.
func (c *Channel) fill(n int, put func(p []byte) error) (int, error) {
	s := c.s
	s.mu.Lock()
	defer s.unlock()
	if c.writeErr != nil || n <= 0 {
		return 0, c.writeErr
	}
	c.byFile = false
	want := min(n, s.limits.body)
	n = c.allowedLocked(want)
	if n == 0 {
		c.waitLocked(want)
		return 0, nil
	}
	chunk := c.tailLocked(n)
	n = min(n, len(chunk.mem)-chunk.n)
	c.countLocked(n)
	c.filling = true
	s.unlock()
	err := put(chunk.mem[chunk.n : chunk.n+n])
	s.mu.Lock()
	c.filling = false
	if c.outDropped {
		c.outQueue.pop().release() // the only one left
		return 0, c.writeErr
	}
	last := c.outQueue.back()
	if err != nil {
		c.countLocked(-n)
		if last.n == 0 {
			c.outQueue.popBack().release()
		}
		n = 0
	} else {
		last.n += n
		s.fileCopied.Add(uint64(n))
	}
	c.enterLocked() // also what was there before, which had to wait
	return n, err
}
