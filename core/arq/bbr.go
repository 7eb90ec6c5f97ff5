package arq

import "time"

// model is what is known of the path: the rate at which it delivers and its shortest round trip. It says how fast to send and
// how much may be under way. After BBR (Cardwell et al., "BBR: Congestion-Based Congestion Control", 2016), without its phase
// of nearly no traffic every ten seconds: half of a pipe's worth for a round trip shows the shortest one as well, and does
// not stop a bulk transfer. Pure state; times are nanoseconds since the stream began.
type model struct {
	packet int // bytes of a full one

	phase phase
	cycle int // in probe
	since int64

	bw        [bwRounds]float64 // bytes per nanosecond: the highest of each of the last rounds
	bwAt      int               // the place in bw of this round
	free      bool              // a sample of this round was not limited by what there was to send
	round     uint64
	roundEnd  uint64 // round ends when what was delivered when it began, and sent then, has been
	full      float64
	fullCount int
	limit     float64 // of the rate, after a round with too many losses; 0: none
	lost      int     // bytes, in this round
	acked     int     // bytes, in this round

	yield float64 // pipes that may be under way, after a round with losses; 0: as many as the gain says

	minRTT   int64
	minAt    int64
	lowUntil int64 // while the pipe is half empty for a look at the shortest round trip

	extra      [bwRounds]float64 // bytes that came acknowledged at once, beyond what the rate explains
	burstAt    int64
	burstAcked float64
}

type phase uint8

const (
	startup phase = iota
	drain
	probe
)

const (
	bwRounds    = 10
	startupGain = 2.885 // 2/ln 2: doubles the rate each round
	windowGain  = 2.0
	minRTTLife  = int64(10 * time.Second)
	// overload is the share of a round's bytes whose loss means too fast; random losses of a few percent do not.
	overload = 1.0 / 6
	// A round that lost more than yieldAt, as random loss rarely does and a full queue always, leaves the queue to others: the window goes to one pipe,
	// which alone still fills the line, and comes back by yieldStep a round.
	yieldAt     = 0.02
	yieldLeast  = 3 // packets
	yieldTo     = 1.0
	yieldStep   = 0.02
	firstWindow = 32 // packets
	minWindow   = 4  // packets
)

var probeGains = [...]float64{1.25, 0.75, 1, 1, 1, 1, 1, 1}

// sample is what an acknowledgement tells.
type sample struct {
	now       int64
	rtt       int64   // 0: none
	rate      float64 // bytes per nanosecond; 0: none
	limited   bool    // by what there was to send
	acked     int     // bytes
	lost      int     // bytes
	inFlight  int     // bytes, after it
	delivered uint64  // bytes ever
	prior     uint64  // bytes delivered when the acknowledged packet was sent
}

func (m *model) rate() float64 {
	best := 0.0
	for _, r := range m.bw {
		best = max(best, r)
	}
	if m.limit > 0 {
		best = min(best, m.limit)
	}
	return best
}

func (m *model) update(s sample) {
	m.lost += s.lost
	m.acked += s.acked
	if s.acked > 0 && s.prior >= m.roundEnd {
		m.endRound(s)
	}
	if s.rate > 0 {
		m.free = m.free || !s.limited
		if at := &m.bw[m.bwAt]; s.rate > *at && (!s.limited || s.rate > m.rate()) {
			*at = s.rate
		}
	}
	if s.rtt > 0 && (m.minRTT == 0 || s.rtt <= m.minRTT) {
		m.minRTT, m.minAt = s.rtt, s.now
	}
	m.aggregate(s)
	m.step(s)
}

// endRound begins the next round, and looks at what was lost in this one.
func (m *model) endRound(s sample) {
	m.roundEnd = s.delivered
	m.round++
	m.extra[m.round%bwRounds] = 0
	if m.free { // a round with little to send says nothing against what was measured before
		m.bwAt, m.free = (m.bwAt+1)%bwRounds, false
		m.bw[m.bwAt] = 0
	}
	over := m.lost > 8*m.packet && float64(m.lost) > overload*float64(m.lost+m.acked)
	rate := m.rate()
	switch {
	case m.lost > yieldLeast*m.packet && float64(m.lost) > yieldAt*float64(m.lost+m.acked):
		m.yield = yieldTo
	case m.yield > 0:
		if m.yield += yieldStep; m.yield >= windowGain {
			m.yield = 0
		}
	}
	switch {
	case over:
		m.limit = 0.85 * rate
	case m.limit > 0:
		if m.limit *= 1.1; m.limit > 2*rate {
			m.limit = 0
		}
	}
	m.lost, m.acked = 0, 0
	if m.phase == startup && !s.limited {
		if rate >= 1.25*m.full {
			m.full, m.fullCount = rate, 0
		} else {
			m.fullCount++
		}
		if m.fullCount >= 3 || over {
			m.phase = drain
		}
	}
}

// aggregate notes how much more came acknowledged at once than the rate explains: the window must not end before.
func (m *model) aggregate(s sample) {
	expected := m.rate() * float64(s.now-m.burstAt)
	if m.burstAt == 0 || m.burstAcked <= expected {
		m.burstAt, m.burstAcked, expected = s.now, 0, 0
	}
	m.burstAcked += float64(s.acked)
	if e := m.burstAcked - expected; e > m.extra[m.round%bwRounds] {
		m.extra[m.round%bwRounds] = e
	}
}

// step goes from phase to phase.
func (m *model) step(s sample) {
	switch m.phase {
	case drain:
		if float64(s.inFlight) <= m.pipe() {
			m.phase, m.cycle, m.since = probe, 2, s.now
		}
	case probe:
		long := s.now-m.since > max(m.minRTT, int64(time.Millisecond))
		drained := m.cycle == 1 && float64(s.inFlight) <= m.pipe()
		if long || drained {
			m.cycle, m.since = (m.cycle+1)%len(probeGains), s.now
		}
	}
	if m.minAt > 0 && s.now-m.minAt > minRTTLife {
		if m.lowUntil == 0 {
			m.lowUntil = s.now + 2*max(m.minRTT, int64(time.Millisecond))
		}
		if s.now > m.lowUntil && s.rtt > 0 {
			m.minRTT, m.minAt, m.lowUntil = s.rtt, s.now, 0
		}
	} else {
		m.lowUntil = 0
	}
}

// pipe is how many bytes the path holds.
func (m *model) pipe() float64 { return m.rate() * float64(m.minRTT) }

// window is how many bytes may be under way.
func (m *model) window() int {
	pipe := m.pipe()
	if pipe == 0 {
		return firstWindow * m.packet
	}
	gain := windowGain
	switch {
	case m.phase == startup:
		gain = startupGain
	case m.lowUntil > 0:
		return max(int(pipe/2), minWindow*m.packet)
	}
	extra := 0.0
	for _, e := range m.extra {
		extra = max(extra, e)
	}
	extra = min(extra, 4*pipe+256<<10)
	if m.yield > 0 && m.phase != startup {
		gain, extra = m.yield, min(extra, pipe/4)
	}
	// Two packets for a delayed acknowledgement, and what one burst of the pacer is.
	w := int(gain*pipe+extra) + 2*m.packet + m.quantum()
	if m.phase == startup {
		w = max(w, firstWindow*m.packet)
	}
	return max(w, minWindow*m.packet)
}

// pace is the rate to send at, in bytes per nanosecond; 0: as fast as can be.
func (m *model) pace() float64 {
	rate := m.rate()
	switch {
	case rate == 0:
		return 0
	case m.phase == startup:
		return max(startupGain*rate, firstWindow*float64(m.packet)/float64(max(m.minRTT, 1)))
	case m.phase == drain:
		return rate / startupGain
	}
	// What the smallest window lets go in a round trip may always go.
	return max(probeGains[m.cycle]*rate, float64(minWindow*m.packet)/float64(max(m.minRTT, 1)))
}

// quantum is how many bytes go out at once: a millisecond's worth, because that is how exact a sleep is.
func (m *model) quantum() int {
	return min(max(int(m.rate()*float64(time.Millisecond)), 2*m.packet), 64<<10)
}

// stalled forgets the rate after a time without any answer.
func (m *model) stalled() {
	m.bw, m.extra, m.limit = [bwRounds]float64{}, [bwRounds]float64{}, 0
	m.phase, m.full, m.fullCount = startup, 0, 0
}
