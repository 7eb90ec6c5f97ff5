package arq

import "time"

// sent is a packet under way.
type sent struct {
	at      int64
	off     uint64 // of its bytes of the stream
	n       int32  // how many
	size    int32  // of the packet
	gone    bool   // acknowledged or lost
	fin     bool
	window  bool
	probe   bool
	limited bool
	prior   uint64 // bytes delivered when it was sent
	priorAt int64  // and when that was
	firstAt int64  // when the first packet of its round left
}

const (
	reorder    = 3                       // packets, RFC 9002 §6.1.1
	timerFloor = int64(time.Millisecond) // RFC 9002 §6.1.2, kGranularity
	firstRTT   = int64(200 * time.Millisecond)
	probeTries = 3
)

// sender is the half of a stream that goes out. The stream's mu guards it.
type sender struct {
	model  model
	packet int // bytes of a full one
	asked  int // probes that were sent
	asking bool
	bigger int // size of the probe; 0: done

	held    buffer
	una     uint64 // all below is acknowledged
	acked   spans  // what is beyond
	fresh   uint64 // all below has been sent
	written uint64
	lost    spans // to be sent again
	allowed uint64
	ending  bool // no more Writes
	fin     bool // the end is to be said
	finSent bool // and is under way
	finDone bool
	regrant bool // our WINDOW was lost

	next      uint64 // packet number
	low       uint64 // number of track[0]
	track     []sent
	head      int // of track: before it lies what is forgotten
	largest   uint64
	hasAck    bool
	inFlight  int
	delivered uint64
	deliverAt int64
	firstAt   int64
	limitedTo uint64 // delivered, up to which samples are limited by what there was to send

	srtt, rttvar int64
	lossAt       int64 // when a packet will count as lost; 0: none does
	lastSent     int64 // that asked for an acknowledgement
	heardAt      int64 // last acknowledgement of something new, or when there was nothing under way
	tries        int   // timeouts in a row
	ask          int   // packets that may go out beyond the window, to ask
	paceAt       int64 // when the next may go
}

func (o *sender) init(cfg Config) {
	o.packet, o.model.packet = cfg.MaxPacket, cfg.MaxPacket
	if cfg.Probe > cfg.MaxPacket {
		o.bigger = cfg.Probe
	}
	o.allowed = firstGrant
}

// settled says that all that was written has arrived.
func (o *sender) settled() bool { return o.una == o.written && (!o.fin || o.finDone) }

// room is how much Write may take now.
func (o *sender) room(window int) int {
	unsent := int(o.written - o.fresh)
	// 5 ms of the path, so that what is written later and matters more need not wait for longer.
	most := min(max(int(o.model.rate()*5e6), 32<<10), 256<<10)
	return min(most-unsent, window-int(o.written-o.una))
}

func (o *sender) write(p []byte) {
	o.held.put(o.written, p)
	o.written += uint64(len(p))
}

func (o *sender) end() { o.ending, o.fin = true, true }

// finDue says that the end is to be said now.
func (o *sender) finDue() bool {
	return o.fin && !o.finSent && !o.finDone && o.fresh == o.written && len(o.lost) == 0
}

// hasData says that there is data which the peer's window lets go.
func (o *sender) hasData() bool {
	return len(o.lost) > 0 || o.fresh < min(o.written, o.allowed)
}

func (o *sender) mayOpen() bool { return o.inFlight+o.packet <= o.model.window() }

// reset forgets everything.
func (o *sender) reset() {
	model := o.model
	*o = sender{model: model, srtt: o.srtt, packet: o.packet, written: o.written, una: o.una, fresh: o.written}
}

// deadline is when expired or packets will have something to do.
func (o *sender) deadline(now int64) int64 {
	at := now + int64(time.Hour)
	if o.hasData() && o.mayOpen() {
		at = min(at, max(o.paceAt, now))
	}
	if o.finDue() || o.regrant {
		at = now
	}
	if o.lossAt > 0 {
		at = min(at, o.lossAt)
	}
	if o.outstanding() {
		at = min(at, o.lastSent+o.timeout())
	}
	return at
}

// outstanding says that an acknowledgement is waited for.
func (o *sender) outstanding() bool { return o.inFlight > 0 }

// timeout is the probe timeout, RFC 9002 §6.2.1.
func (o *sender) timeout() int64 {
	t := 2 * firstRTT
	if o.srtt > 0 {
		t = o.srtt + max(4*o.rttvar, timerFloor) + 2*ackAfter
	}
	return min(t<<min(o.tries, 6), int64(3*time.Second))
}

// expired does what is due by time, and says whether the peer has been silent for too long.
func (o *sender) expired(now int64, st *Stats, patience int64) (silent bool) {
	if o.lossAt > 0 && now >= o.lossAt {
		o.detect(now, st)
	}
	if !o.outstanding() {
		o.heardAt = now
		return false
	}
	if now-o.heardAt > patience {
		return true
	}
	if now < o.lastSent+o.timeout() {
		return false
	}
	st.Timeouts++
	o.tries++
	o.lastSent = now
	o.ask = 2
	if o.tries >= 2 { // nothing comes: what is under way is gone, and so is what was known of the path
		for i := o.head; i < len(o.track); i++ {
			o.lose(&o.track[i], st)
		}
		o.forgetTrack()
		if o.tries == 2 {
			o.model.stalled()
		}
		o.shrink()
		return false
	}
	for i := o.head; i < len(o.track); i++ {
		if t := &o.track[i]; !t.gone && !t.probe {
			o.lose(t, st)
			break
		}
	}
	o.forgetTrack()
	return false
}

// shrink goes back to packets that every path takes.
func (o *sender) shrink() { o.packet, o.bigger = o.model.packet, 0 }

// tooBig says that the path took no packet of some length: it was a probe, or all above the base.
func (o *sender) tooBig() {
	o.shrink()
	o.asking = false
}

// lose gives a packet up; what it carried goes out again.
func (o *sender) lose(t *sent, st *Stats) {
	if t.gone {
		return
	}
	t.gone = true
	o.inFlight -= int(t.size)
	if t.probe {
		o.asking = false
		return
	}
	st.PacketsLost++
	if t.fin {
		o.finSent = false
	}
	o.regrant = o.regrant || t.window
	o.requeue(t)
	st.Resent += uint64(t.n)
}

// requeue notes what of a packet's bytes is not acknowledged.
func (o *sender) requeue(t *sent) {
	lo, hi := max(t.off, o.una), t.off+uint64(t.n)
	if t.n == 0 || lo >= hi {
		return
	}
	o.lost.add(lo, hi)
	for _, a := range o.acked[o.acked.from(lo):] {
		if a.lo >= hi {
			break
		}
		o.lost.cut(a.lo, a.hi)
	}
}

// acknowledged takes an ACK; false: it is for what was never sent.
func (o *sender) acknowledged(p *packet, now int64, st *Stats) bool {
	if p.acks[0].hi > o.next {
		return false
	}
	var newest *sent
	bytes := 0
	for _, r := range p.acks {
		if r.hi <= o.low {
			break
		}
		for n := r.hi; n > max(r.lo, o.low); n-- {
			t := &o.track[o.head+int(n-1-o.low)]
			if t.gone {
				continue
			}
			t.gone = true
			o.inFlight -= int(t.size)
			bytes += int(t.size)
			if newest == nil {
				newest = t
			}
			o.arrived(t)
		}
	}
	if newest == nil {
		return true
	}
	o.delivered += uint64(bytes)
	o.deliverAt = now
	o.heardAt, o.tries = now, 0
	s := sample{now: now, acked: bytes, inFlight: o.inFlight, delivered: o.delivered, prior: newest.prior, limited: newest.limited}
	if p.acks[0].hi-1 >= o.largest || !o.hasAck {
		o.largest, o.hasAck = p.acks[0].hi-1, true
		rtt := max(1, now-newest.at)
		s.rtt = rtt
		o.measure(rtt, int64(p.ackDelay)*ackUnit*int64(time.Microsecond))
	}
	// The rate at which these were delivered is not higher than that at which they were sent.
	if span := max(now-newest.priorAt, newest.at-newest.firstAt); span > 0 && newest.priorAt > 0 {
		s.rate = float64(o.delivered-newest.prior) / float64(span)
	}
	o.firstAt = newest.at
	lostBefore := o.inFlight
	o.detect(now, st)
	s.lost = lostBefore - o.inFlight
	s.inFlight = o.inFlight
	o.model.update(s)
	return true
}

// arrived notes what a packet carried.
func (o *sender) arrived(t *sent) {
	if t.fin {
		o.finDone = true
	}
	if t.probe {
		o.asking = false
		if o.bigger > 0 {
			o.packet, o.bigger = o.bigger, 0
		}
	}
	lo, hi := max(t.off, o.una), t.off+uint64(t.n)
	if t.n == 0 || lo >= hi {
		return
	}
	if len(o.lost) > 0 {
		o.lost.cut(lo, hi)
	}
	if lo == o.una {
		o.una = hi
	} else {
		o.acked.add(lo, hi)
	}
	for len(o.acked) > 0 && o.acked[0].lo <= o.una {
		o.una = max(o.una, o.acked[0].hi)
		o.acked = append(o.acked[:0], o.acked[1:]...)
	}
	o.held.forget(o.una)
}

// measure is RFC 9002 §5.3.
func (o *sender) measure(rtt, delay int64) {
	if o.srtt == 0 {
		o.srtt, o.rttvar = rtt, rtt/2
		return
	}
	if low := o.model.minRTT; rtt-min(delay, 2*ackAfter) >= low {
		rtt -= min(delay, 2*ackAfter)
	}
	dev := o.srtt - rtt
	if dev < 0 {
		dev = -dev
	}
	o.rttvar += (dev - o.rttvar) / 4
	o.srtt += (rtt - o.srtt) / 8
}

// detect finds the packets that are lost: RFC 9002 §6.1.
func (o *sender) detect(now int64, st *Stats) {
	o.lossAt = 0
	if !o.hasAck {
		return
	}
	late := max(o.srtt+o.srtt/8, timerFloor)
	for i := o.head; i < len(o.track); i++ {
		n := o.low + uint64(i-o.head)
		if n > o.largest {
			break
		}
		t := &o.track[i]
		switch {
		case t.gone:
		case o.largest-n >= reorder || now-t.at >= late:
			o.lose(t, st)
		case o.lossAt == 0:
			o.lossAt = t.at + late
		}
	}
	o.forgetTrack()
}

// forgetTrack drops the packets before the first that is under way.
func (o *sender) forgetTrack() {
	for o.head < len(o.track) && o.track[o.head].gone {
		o.head++
		o.low++
	}
	if o.head == len(o.track) {
		o.track, o.head = o.track[:0], 0
	} else if o.head > 256 && o.head > len(o.track)/2 {
		n := copy(o.track, o.track[o.head:])
		o.track, o.head = o.track[:n], 0
	}
}
