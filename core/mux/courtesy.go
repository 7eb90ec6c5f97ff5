package mux

import "time"

// flight is how a link's stream is under way.
type flight struct {
	acked  uint64        // bytes that the other end's kernel has
	ahead  int           // bytes written that it has not: they go before whatever is written next
	rtt    time.Duration // smoothed
	minRTT time.Duration // the least of the last minutes
}

// courtesy keeps queues short in front of messages that somebody waits for. A congestion control that goes by loss, as TCP's
// does, fills the queue at a slow link until it overflows: a short message then waits for all of that and, when it is what got
// lost, for another round trip. So while such messages are about and the link is slow, the writer lets channels with a backlog
// write only while less is under way than the path itself holds and courtesyTime's worth of it, and waits meanwhile.
//
// Somebody else's TCP in the same queue does not do so, and would get all of the link. When the queue stays in spite of us, it
// may not be ours, and courtesy rests. When that brings us no more, the link was only slow, and the next rest is far away.
//
// Only the writer uses it. Times are since the session's creation. It is pure.
type courtesy struct {
	asked  time.Duration // when a short message last went before a backlog; 0: never
	since  time.Duration // no more than room has been under way from then on; 0: that was never so
	rest   time.Duration // not before then
	before float64       // rate before the rest; 0: that has been judged
	began  uint64        // acked then
	trust  time.Duration // no rest before then
	until  time.Duration // the backlog waits
	rate   float64       // bytes a second that the path has brought while the backlog waited
	marked time.Duration // when acked was
	acked  uint64
	dry    bool // nothing was under way at some time since
}

const (
	courtesyTime  = 4 * time.Millisecond  // of the link's rate, in its queue and in a write
	courtesyLasts = 10 * time.Second      // after the last short message
	courtesyRest  = 5 * time.Second       // while a queue is not ours
	courtesyTrust = 5 * time.Minute       // after a rest that brought nothing
	courtesyTrial = 2 * time.Second       // in which the rest of it would have been drained if it were
	foreignQueue  = 30 * time.Millisecond // of a queue that is not
	courtesyLeast = 4 << 10               // bytes of a write, and in any case under way
	courtesyNap   = 500 * time.Microsecond
	courtesySpan  = 20 * time.Millisecond  // over which the rate is measured, at least, or a round trip,
	courtesyGap   = 500 * time.Millisecond // and at most
)

// ask notes that somebody waits for a short message.
func (c *courtesy) ask(now time.Duration) { c.asked = max(now, 1) }

// wanted tells whether the writer has to look at the link's flight before it serves a backlog.
func (c *courtesy) wanted(now time.Duration, slow bool) bool {
	if slow && c.asked > 0 && now < c.asked+courtesyLasts && now >= c.rest {
		return true
	}
	c.since, c.until, c.rate, c.marked = 0, 0, 0, 0
	return false
}

// wait returns how long the backlog has to wait.
func (c *courtesy) wait(now time.Duration, f flight) time.Duration {
	if c.before > 0 {
		if float64(f.acked-c.began) < 1.5*c.before*(now-c.rest+courtesyRest).Seconds() {
			c.trust = now + courtesyTrust
		}
		c.before = 0
	}
	c.measure(now, f)
	if c.rate == 0 {
		return 0
	}
	queue := f.rtt - f.minRTT
	if c.since > 0 && now > c.since+courtesyTrial && queue > foreignQueue && now >= c.trust {
		c.rest, c.before, c.began = now+courtesyRest, c.rate, f.acked
		c.wanted(now, true)
		return 0
	}
	holds := f.minRTT
	if queue < courtesyTime/2 {
		holds += f.minRTT / 2 // there is none: the path may bring more than was measured
	}
	room := max(courtesyLeast, int(c.rate*(holds+courtesyTime).Seconds()))
	if f.ahead <= room {
		if c.since == 0 {
			c.since = now
		}
		return 0
	}
	// Half of what it should take: a rate measured too low would else confirm itself.
	nap := time.Duration(float64(f.ahead-room) / c.rate * float64(time.Second) / 2)
	nap = min(max(nap, courtesyNap), courtesyTime)
	c.until = now + nap
	return nap
}

// measure learns the link's rate: what came through since the last time. When the link ran dry, since we woke late, it could
// have been more: that is tried until it no more does.
func (c *courtesy) measure(now time.Duration, f flight) {
	span := now - c.marked
	c.dry = c.dry || f.ahead == 0
	switch {
	case c.marked == 0 || span > max(courtesyGap, 2*f.rtt):
	case span < max(courtesySpan, f.rtt):
		return
	default:
		rate := float64(f.acked-c.acked) / span.Seconds()
		switch {
		case c.dry:
			rate = max(rate, c.rate*5/4)
		case rate < c.rate: // one measurement too low must not make the next one lower
			rate = (3*c.rate + rate) / 4
		}
		c.rate = rate
	}
	c.marked, c.acked, c.dry = now, f.acked, f.ahead == 0
}

// most is how many bytes the next write may have on a slow link.
func (c *courtesy) most() int {
	if c.rate == 0 {
		return slowBatch
	}
	return min(max(courtesyLeast, int(c.rate*courtesyTime.Seconds())), slowBatch)
}
