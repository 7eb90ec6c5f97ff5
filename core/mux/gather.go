package mux

import (
	"time"

	"traverse.internal/core/bufpool"
	"traverse.internal/core/framing"
)

// batch is what one Write takes, or a frame of a file. The zero value is empty.
type batch struct {
	buf   *bufpool.Buf // the writer's hold
	data  []byte       // in buf, whole frames
	frame *fileFrame   // instead of both, with
	file  *sharedFile  // the writer's hold
	last  bool         // the session's GOAWAY is in it: nothing comes behind
}

func (b *batch) empty() bool { return b.data == nil && b.frame == nil }

func (b *batch) len() int {
	if b.frame != nil {
		return b.frame.len()
	}
	return len(b.data)
}

func (b *batch) release() {
	b.buf.Release()
	b.file.release()
}

// gather is the buffer in which frames are put together, one behind the other. Frames outside channel 0xffff stay in it
// as extents of what is retained, so that one copy serves for the link and for a resumed link. Whatever is behind keep
// is free to be written again once its batch has been.
type gather struct {
	buf   *bufpool.Buf
	mem   []byte
	keep  int // retained frames end here
	start int // of the batch
	end   int
	most  int // bytes of the batch
}

// smallest is the room in bytes below which no batch is begun: HELLO, the longest control frame, has under 1.5 KiB.
const smallest = 2 << 10

// begin starts a batch of which about want bytes are known. It takes a new buffer when this one has no room, or less
// than half and not enough; so of two buffers in a row that are retained, more than one is full. The batch has at most
// most bytes.
func (g *gather) begin(want, most int) {
	if left := len(g.mem) - g.keep; g.buf == nil || left < smallest || left < want && left < maxBatch/2 {
		g.drop()
		g.buf = bufpool.Get(maxBatch)
		g.mem = g.buf.Bytes()
	}
	g.start, g.end, g.most = g.keep, g.keep, most
}

// drop gives the buffer up; extents hold it for themselves.
func (g *gather) drop() {
	g.buf.Release()
	*g = gather{}
}

func (g *gather) len() int  { return g.end - g.start }
func (g *gather) room() int { return min(len(g.mem), g.start+g.most) - g.end }

// tail returns the free room as an empty slice to append to; wrote takes what was appended.
func (g *gather) tail() []byte { return g.mem[g.end:g.end] }

func (g *gather) wrote(b []byte) []byte {
	g.end += len(b)
	return g.mem[g.end-len(b) : g.end : len(g.mem)]
}

// retain keeps the last frames that were written.
func (g *gather) retain(r *retained, frames []byte) {
	r.add(g.buf, frames)
	g.keep = g.end
}

// control is what this side owes the peer on channel 0xffff. Values are filled in when the frame is put together, so
// what waits is always the newest and takes no room: at most one ACK, MAX_SESSION and BEACON of each kind, one MAX per
// channel.
type control struct {
	ack        bool
	ackAnyway  bool // behind the RESETs, even when the peer knows: it may then use numbers again
	maxSession bool
	maxes      queue[*Channel] // with Channel.maxDue
	resets     queue[resetFrame]
	// resetAnswers counts those in resets that answer the peer's.
	resetAnswers int
	beacon       bool // with nonce
	nonce        uint64
	echo         bool // with echoNonce; a peer that asks twice before it is answered gets one answer
	echoNonce    uint64
	goAway       *framing.GoAway

	// What is sent lives here, since it passes an interface.
	ackFrame     framing.Ack
	maxFrame     framing.Max
	sessionFrame framing.MaxSession
	beaconFrame  framing.Beacon
	resetFrame   framing.Reset
	request      framing.ChannelRequest
	header       [16]byte
}

// controlFrame adds a frame of channel 0xffff to the batch.
func (s *Session) controlFrame(m framing.Message) {
	g := &s.batch
	g.wrote(s.codec.AppendControl(g.tail(), m))
	s.stats.ControlFramesOut++
}

// gatherFirstLocked puts the link's first frame in front.
func (s *Session) gatherFirstLocked(l *link) {
	if l.first != nil {
		s.controlFrame(l.first)
		l.first = nil
	}
	for ; len(l.early) > 0 && s.batch.room() >= smallest; l.early = l.early[1:] {
		s.control.resetFrame = l.early[0]
		s.controlFrame(&s.control.resetFrame)
		s.stats.ResetsOut++
	}
}

// gatherBeaconsLocked adds signs of life, which nothing delays.
func (s *Session) gatherBeaconsLocked() {
	c := &s.control
	if c.echo {
		c.echo = false
		c.beaconFrame = framing.Beacon{Nonce: c.echoNonce, Answer: true}
		s.controlFrame(&c.beaconFrame)
	}
	if c.beacon {
		c.beacon = false
		c.beaconFrame = framing.Beacon{Nonce: c.nonce}
		s.controlFrame(&c.beaconFrame)
	}
}

// gatherControlLocked adds what else is owed on channel 0xffff, but for RESETs.
func (s *Session) gatherControlLocked() {
	c := &s.control
	if s.acked != s.received && (c.ack || c.maxSession || c.maxes.len() > 0) { // beside others it costs 9 bytes
		s.gatherAckLocked()
	}
	if c.maxSession {
		c.maxSession = false
		c.sessionFrame.Offset = s.in.announce()
		s.controlFrame(&c.sessionFrame)
	}
	if c.goAway != nil {
		s.controlFrame(c.goAway)
		c.goAway = nil
	}
	for c.maxes.len() > 0 && s.batch.room() >= smallest {
		ch := c.maxes.pop()
		ch.maxDue = false
		if ch.phase != phaseOpen || ch.eofIn {
			continue
		}
		ch.pace.tell(ch.in.limit, time.Since(s.created))
		c.maxFrame = framing.Max{Channel: ch.id, Offset: ch.in.announce()}
		s.controlFrame(&c.maxFrame)
	}
}

// gatherAckLocked adds an ACK, unless an Attach holds it back.
func (s *Session) gatherAckLocked() {
	if s.attaching > 0 {
		return
	}
	c := &s.control
	c.ack, s.acked = false, s.received
	c.ackFrame.Count = s.received
	s.controlFrame(&c.ackFrame)
	s.stats.AcksOut++
}

// gatherRequestsLocked adds frames of channel 0. It reports whether that was all of them; data must not overtake the
// answer that opens its channel.
func (s *Session) gatherRequestsLocked() bool {
	for s.requests.len() > 0 {
		if s.batch.room() < smallest {
			return false
		}
		s.control.request = s.requests.pop()
		if s.control.request.IsAnswer {
			s.answers--
		}
		g := &s.batch
		g.retain(&s.retained, g.wrote(s.codec.AppendControl(g.tail(), &s.control.request)))
		s.stats.RequestFramesOut++
	}
	return true
}

// gatherResetsLocked adds RESETs, behind all frames of channel 0: an answer that is reset at once goes first. It
// reports whether that was all.
func (s *Session) gatherResetsLocked() bool {
	for s.control.resets.len() > 0 {
		if s.batch.room() < smallest {
			return false
		}
		next := s.control.resets.pop()
		if next.answer {
			s.control.resetAnswers--
		}
		s.control.resetFrame = next.Reset
		s.controlFrame(&s.control.resetFrame)
		s.stats.ResetsOut++
	}
	if s.control.ackAnyway && s.attaching == 0 && s.batch.room() >= smallest {
		s.control.ackAnyway = false
		s.gatherAckLocked()
	}
	return true
}
