package mux

import (
	"errors"

	"traverse.internal/core/bufpool"
	"traverse.internal/core/framing"
)

// errOver ends a reader whose link carries nothing any more.
var errOver = errors.New("mux: link is not the session's any more")

// readLoop is the only reader of its link.
func (l *link) readLoop() {
	s := l.s
	defer s.exit()
	err := l.read()
	var broken *ProtocolError
	if errors.As(err, &broken) && s.broken(l, broken) {
		err = l.discard()
	}
	s.lost(l, noEOF(err))
}

// broken ends the session because of what its peer sent on l, and tells the peer. It reports false where l is only kept: the session goes on.
func (s *Session) broken(l *link, err *ProtocolError) bool {
	s.mu.Lock()
	defer s.unlock()
	if s.link == l {
		s.stats.Violations++
		s.endLocked(err, endGoAway, &framing.GoAway{Code: err.Code, Reason: err.What})
	}
	return !l.kept
}

// discard reads on until the link ends, so that the peer can read our GOAWAY: closing a TCP connection with unread
// bytes resets it.
func (l *link) discard() error {
	in := bufpool.Get(adoptBody)
	defer in.Release()
	for {
		if _, err := l.rwc.Read(in.Bytes()); err != nil {
			return err
		}
	}
}

// read takes frames off the link until it fails. A *ProtocolError is the peer's fault.
func (l *link) read() error {
	in := bufpool.Get(readBuffer)
	defer func() { in.Release() }()
	have := 0 // bytes that have been read and not taken, at the front
	for {
		mem := in.Bytes()
		from, err := l.frames(mem[:have])
		if err != nil {
			return err
		}
		var all bool
		if in, all, err = l.long(in, from, have); err != nil {
			return err
		}
		mem = in.Bytes()
		switch {
		case all:
			have = 0
		case from > 0:
			have = copy(mem, mem[from:have])
		}
		n, err := l.rwc.Read(mem[have:])
		have += n
		if n > 0 {
			l.hear()
		}
		if err != nil && n == 0 {
			return err
		}
	}
}

// frames takes the whole frames at the front of b and returns their length.
func (l *link) frames(b []byte) (int, error) {
	codec := l.s.codec
	taken := 0
	for {
		h, size, err := codec.ParseHeader(b[taken:])
		if errors.Is(err, framing.ErrShort) {
			return taken, nil
		}
		if err != nil {
			return taken, asViolation(err)
		}
		end := taken + size + int(h.Length)
		if end > len(b) {
			return taken, nil
		}
		if err := l.frame(h, size, b[taken+size:end]); err != nil {
			return taken, err
		}
		taken = end
	}
}

// long reads the rest of the long data frame that begins at byte from of what has been read, if one does, and takes it.
// The body stays where it is, and the read buffer goes with it, when it is worth that and there is the room; else it
// gets a buffer of its own. Long returns the buffer to read on with, and whether it is used up.
func (l *link) long(in *bufpool.Buf, from, to int) (*bufpool.Buf, bool, error) {
	read := in.Bytes()[from:to]
	h, size, err := l.s.codec.ParseHeader(read)
	if err != nil || h.Length < adoptBody || !h.Channel.IsData() {
		return in, false, nil // a wrong header has been found by frames
	}
	buf, have := in, len(read)-size
	if end := from + size + int(h.Length); h.Length >= directBody && end <= in.Cap() {
		in.SetLen(end)
		in.Trim(from + size)
		in = bufpool.Get(readBuffer)
	} else {
		buf = bufpool.Get(int(h.Length))
		copy(buf.Bytes(), read[size:])
	}
	for body := buf.Bytes()[have:]; len(body) > 0; {
		n, err := l.rwc.Read(body)
		body = body[n:]
		if n > 0 {
			l.hear()
		}
		if err != nil && n == 0 {
			buf.Release()
			return in, true, err
		}
	}
	return in, true, l.data(h, size, buf.Bytes(), buf)
}

// frame takes one whole frame whose body is in the read buffer.
func (l *link) frame(h framing.Header, size int, body []byte) error {
	if !h.Channel.IsData() {
		return l.controlBody(h, size, body)
	}
	if len(body) < adoptBody {
		return l.data(h, size, body, nil)
	}
	buf := bufpool.Get(len(body))
	copy(buf.Bytes(), body)
	return l.data(h, size, buf.Bytes(), buf)
}

// data takes a frame of a data channel. The body is copied, or, when it has a buffer of its own, that is taken over.
func (l *link) data(h framing.Header, size int, body []byte, buf *bufpool.Buf) error {
	s := l.s
	s.mu.Lock()
	defer s.unlock()
	fresh, err := s.countLocked(l, size+len(body))
	if err == nil && fresh {
		if len(body) == 0 {
			return s.eofLocked(h.Channel)
		}
		s.stats.FramesIn++
		s.stats.BytesIn += uint64(len(body))
		var taken bool
		if taken, err = s.dataLocked(h.Channel, body, buf); taken {
			return err
		}
	}
	buf.Release()
	return err
}

// controlBody takes a frame of channel 0 or 0xffff.
func (l *link) controlBody(h framing.Header, size int, body []byte) error {
	s := l.s
	length := size + len(body)
	for rest := body; len(rest) > 0; length = 0 {
		var m framing.Message
		var err error
		m, rest, err = s.codec.ParseControl(&l.parser, h.Channel, rest)
		var bad *framing.NameError
		if err != nil {
			if bad = asBadName(err); bad == nil {
				return asViolation(err)
			}
		}
		if err := l.control(h.Channel, length, m, bad); err != nil {
			return err
		}
	}
	return nil
}

// asBadName returns the error that costs a channel and not the session. (A function of its own, so that bodies without
// one cost no allocation.)
func asBadName(err error) *framing.NameError {
	var bad *framing.NameError
	errors.As(err, &bad)
	return bad
}

func (l *link) control(channel framing.ChannelID, length int, m framing.Message, bad *framing.NameError) error {
	s := l.s
	s.mu.Lock()
	defer s.unlock()
	if again, ok := m.(*framing.Resume); ok && l.greeted && (l.kept || s.link == l) {
		return s.resumedLocked(l, again)
	}
	if l.kept {
		return nil // sent before the peer knew
	}
	if channel == framing.SessionChannel {
		if s.link != l {
			return errOver
		}
		s.stats.ControlFramesIn++
		return s.messageLocked(l, m)
	}
	if length > 0 {
		fresh, err := s.countLocked(l, length)
		if err != nil || !fresh {
			return err
		}
	}
	s.stats.RequestFramesIn++
	if bad != nil {
		return s.badNameLocked(bad.Channel)
	}
	q := m.(*framing.ChannelRequest)
	if q.IsAnswer {
		s.answerLocked(q)
		return nil
	}
	return s.requestLocked(q)
}

// countLocked counts a frame outside channel 0xffff. It reports false for one that is not to be looked at: it came over
// an earlier link too, or the session has ended.
func (s *Session) countLocked(l *link, length int) (bool, error) {
	if l.kept {
		return false, nil
	}
	if s.link != l {
		return false, errOver
	}
	if !l.greeted {
		return false, violation("a frame before HELLO")
	}
	start := l.rxPos
	l.rxPos += uint64(length)
	switch {
	case l.rxPos <= s.received:
		s.stats.Duplicates++
		return false, nil
	case start != s.received:
		return false, violation("frames sent again are cut in other places")
	}
	s.received = l.rxPos
	s.ackSoonLocked()
	return s.err == nil, nil
}

// ackSoonLocked sees to it that the peer hears what has arrived.
func (s *Session) ackSoonLocked() {
	switch owed := s.received - s.acked; {
	case owed == 0 || s.err != nil:
	case owed >= ackEvery:
		s.control.ack = true
		s.kickLocked()
	case !s.ackArmed:
		s.ackArmed = true
		s.ackTimer.Reset(ackAfter)
	}
}

func (s *Session) ackTick() {
	s.mu.Lock()
	defer s.unlock()
	s.ackArmed = false
	if s.received != s.acked && s.err == nil {
		s.control.ack = true
		s.kickLocked()
	}
}

// messageLocked obeys a message of channel 0xffff.
func (s *Session) messageLocked(l *link, m framing.Message) error {
	if s.err != nil {
		if away, ok := m.(*framing.GoAway); ok && away.Code != framing.CodeNone {
			l.heardBye = true
			s.partLocked(l)
		}
		return nil
	}
	if !l.greeted {
		return s.greetLocked(l, m)
	}
	switch m := m.(type) {
	case *framing.Max:
		if c := s.channels[m.Channel]; c != nil {
			c.out.raise(m.Offset)
			c.wakeWriterLocked()
		}
	case *framing.MaxSession:
		s.out.raise(m.Offset)
		s.wakeWaitersLocked()
	case *framing.Ack:
		return s.ackedLocked(l, m.Count)
	case *framing.Beacon:
		s.beaconLocked(m)
	case *framing.Reset:
		return s.resetByPeerLocked(m)
	case *framing.GoAway:
		s.goneAwayLocked(m)
	case *framing.Unknown:
		s.stats.Unknown++
	default:
		return violation("%v on a link in use", m.MessageType())
	}
	return nil
}

// greetLocked takes the answerer's first frame.
func (s *Session) greetLocked(l *link, m framing.Message) error {
	switch m := m.(type) {
	case *framing.Hello:
		if m.SessionID != s.id {
			return violation("HELLO of another session")
		}
		l.greeted = true
		s.helloLocked(m)
		s.beatTimer.Reset(s.cfg.BeaconAfter)
		return nil
	case *framing.GoAway:
		s.endLocked(&GoAwayError{Code: m.Code, Reason: m.Reason, Remote: true}, endSilent, nil)
		return nil
	}
	return violation("%v before HELLO", m.MessageType())
}

// ackedLocked lets go of what the peer has.
func (s *Session) ackedLocked(l *link, count uint64) error {
	if !s.retained.ack(count) {
		return violation("ACK of %d bytes, sent were %d", count, s.retained.sent)
	}
	s.retained.trim(l.txPos)
	s.ackedHere = true
	s.stats.AcksIn++
	s.restedLocked(count)
	if s.retained.bytes == 0 {
		s.batch.drop() // an idle session holds no buffer
	}
	s.wakeWaitersLocked()
	return nil
}
