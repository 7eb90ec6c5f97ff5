package arq

import "time"

// paceDebt is how much of a sleep that took too long is made up for by a burst. A busy machine oversleeps by some milliseconds.
const paceDebt = int64(10 * time.Millisecond)

// packets makes what may be sent now, in mem.
func (s *Stream) packets(mem []byte, batch [][]byte, now int64) [][]byte {
	quantum := s.out.model.quantum()
	bytes := 0
	for len(batch) < burst {
		var b []byte
		b, mem = s.build(mem, now, bytes < quantum)
		if b == nil {
			break
		}
		batch = append(batch, b)
		bytes += len(b)
		if len(b) < s.out.packet {
			break // a train ends with its short packet
		}
	}
	if bytes > 0 {
		if rate := s.out.model.pace(); rate > 0 {
			from := max(s.out.paceAt, now-paceDebt)
			s.out.paceAt = from + int64(float64(bytes)/rate)
		}
	}
	return batch
}

// build makes one packet at the front of mem, or none, and returns the rest of mem.
func (s *Stream) build(mem []byte, now int64, more bool) (b, rest []byte) {
	o, in := &s.out, &s.in
	data := o.hasData() && more && (o.ask > 0 || o.mayOpen() && now >= o.paceAt)
	ack := in.due > 0 && now >= in.due
	fin := o.finDue()
	in.granted, o.regrant = in.granted || o.regrant, false
	probe := !data && !fin && o.bigger > 0 && !o.asking && o.asked < probeTries && o.srtt > 0 && more
	ping := !data && !fin && !probe && o.ask > 0 && o.inFlight == 0 && more && o.tries > 0 && !o.settled()
	if !data && !ack && !fin && !in.granted && !probe && !ping {
		return nil, mem
	}
	size := o.packet
	if probe {
		size = o.bigger
	}
	if len(mem) < size {
		return nil, mem
	}
	t := sent{at: now, fin: fin, window: in.granted, probe: probe}
	b = appendU48(mem[:0:size], o.next)
	if ack || in.pending > 0 && (data || fin) {
		delay := uint32((now - in.lastAt) / int64(ackUnit*time.Microsecond))
		// A full train of data has the same length in every packet, so the ACK goes along only with the first.
		b = appendAck(b, in.seen, delay, min(size-len(b)-64, 14+8*maxAckRange))
		in.due, in.pending = 0, 0
	}
	if in.granted {
		b = appendU48(append(b, frameWindow), in.limit)
		in.granted = false
	}
	if fin {
		b = appendU48(append(b, frameFin), o.written)
		o.finSent = true
	}
	switch {
	case data:
		b = o.appendData(b, size, &t)
	case probe:
		o.asked++
		o.asking = true
		b = append(b, framePing, framePad)
		clear(b[len(b):size])
		b = b[:size]
	case ping:
		b = append(b, framePing)
	}
	o.account(t, len(b), data || fin || probe || ping || t.window, now)
	return b, mem[len(b):]
}

// appendData appends what was lost, or else what is new.
func (o *sender) appendData(b []byte, size int, t *sent) []byte {
	room := size - len(b) - (dataHeader - numberLen)
	if len(o.lost) > 0 {
		e := o.lost[0]
		t.off, t.n = e.lo, int32(min(e.hi-e.lo, uint64(room)))
		o.lost.cut(e.lo, e.lo+uint64(t.n))
	} else {
		t.off, t.n = o.fresh, int32(min(min(o.written, o.allowed)-o.fresh, uint64(room)))
		o.fresh += uint64(t.n)
	}
	b = appendU48(append(b, frameData), t.off)
	return o.held.appendTo(b, t.off, int(t.n))
}

// account takes note of a packet that goes out.
func (o *sender) account(t sent, size int, eliciting bool, now int64) {
	o.next++
	if !eliciting {
		t.gone = true // nobody will acknowledge it for its own sake
		o.track = append(o.track, t)
		if len(o.track)-o.head == 1 {
			o.forgetTrack()
		}
		return
	}
	if o.ask > 0 {
		o.ask--
	}
	if o.inFlight == 0 {
		o.firstAt, o.deliverAt = now, now
		if o.heardAt == 0 || o.tries == 0 {
			o.heardAt = now
		}
	}
	t.size = int32(size)
	t.prior, t.priorAt, t.firstAt = o.delivered, o.deliverAt, o.firstAt
	o.inFlight += size
	if !o.hasData() && o.inFlight < o.model.window() {
		o.limitedTo = o.delivered + uint64(o.inFlight)
	}
	t.limited = o.delivered < o.limitedTo
	o.lastSent = now
	o.track = append(o.track, t)
}
