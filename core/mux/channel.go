package mux

import (
	"encoding/hex"
	"fmt"
	"net"
	"time"

	"traverse.internal/core/bufpool"
	"traverse.internal/core/framing"
)

// phase is where a channel is in its life.
type phase uint8

const (
	phaseOpening   phase = iota // requested by this side
	phaseRequested              // requested by the peer, in front of Accept or Decline
	phaseOpen
	phaseReset // RESET sent, the peer's not here yet: the number rests
	phaseEnded // not the session's any more; what was received may still be read
)

// Channel is one stream of bytes each way: a net.Conn that can be closed one way. Reads and writes do not disturb each
// other; several at once are served one after the other. All methods are safe for concurrent use.
type Channel struct {
	s       *Session
	id      framing.ChannelID
	name    string
	inbound bool
	opened  time.Time

	answered chan struct{} // of this side's request; closed with openErr set
	done     chan struct{}
	readable chan struct{} // holds a token while a reader should look
	writable chan struct{} // holds a token while a writer should look
	readers  chan struct{} // holds a token while a Read is under way
	writers  chan struct{}
	readBy   deadline
	writeBy  deadline

	// The rest is guarded by the session's mu.

	phase    phase
	asking   bool // holds one of the session's turns
	openErr  error
	isDone   bool
	closed   bool // by Close: what comes is thrown away
	reset    framing.Reset
	readErr  error // after what is in inQueue
	writeErr error

	// From the peer.
	in      recvWindow
	pace    pace
	inQueue queue[inChunk]
	eofIn   bool
	reading bool // the first chunk is being copied from without the lock
	dropped bool // the queue was dropped meanwhile
	maxDue  bool
	bytesIn uint64

	// To the peer.
	out        sendWindow
	outQueue   queue[outChunk]
	queued     int // bytes of body in outQueue, those being copied into it included
	filling    bool
	outDropped bool
	eofOut     bool // the end is to be sent behind the queue
	eofSent    bool
	flushing   bool // reset is to be sent behind the queue
	waiting    bool // a Write waits for room
	wants      int  // for how much
	enlisted   bool // in the session's waiters
	place      place
	priority   Priority
	bytesOut   uint64
	lastFile   *sharedFile
	byFile     bool // what is being written is of a file
	lostFile   bool // reset because its file changed
	toldEarly  bool // its RESET went in front of what is sent again on a new link
}

// inChunk is a piece of what was received: mem[from:to] is unread.
type inChunk struct {
	buf      *bufpool.Buf
	mem      []byte
	from, to int
}

// outChunk is a piece of what was written: mem[taken:n] is to be sent, or the same of a file behind offset.
type outChunk struct {
	buf      *bufpool.Buf
	mem      []byte
	file     *sharedFile // with offset, instead of buf and mem
	offset   int64
	taken, n int
}

func (c outChunk) release() {
	c.buf.Release()
	c.file.release()
}

// newChannelLocked puts a channel into the session.
func (s *Session) newChannelLocked(id framing.ChannelID, name string, inbound bool, p phase) *Channel {
	c := &Channel{
		s: s, id: id, name: name, inbound: inbound, opened: time.Now(), phase: p,
		done: make(chan struct{}), readable: make(chan struct{}, 1), writable: make(chan struct{}, 1),
		readers: make(chan struct{}, 1), writers: make(chan struct{}, 1),
		readBy: newDeadline(), writeBy: newDeadline(),
		in:  newRecvWindow(uint64(s.cfg.Window)),
		out: sendWindow{limit: s.limits.window},
	}
	s.channels[id] = c
	s.used.add(id)
	if inbound {
		s.inbound++
	} else {
		s.outbound++
		c.answered = make(chan struct{})
	}
	return c
}

// Name returns the name the channel was opened by.
func (c *Channel) Name() string { return c.name }

// ID returns its number on the wire.
func (c *Channel) ID() framing.ChannelID { return c.id }

// Session returns the session that it is on.
func (c *Channel) Session() *Session { return c.s }

// Done returns a channel that is closed when this one is over: closed here, reset, ended in both directions, or its
// session has ended. What was received before may still be there to be read.
func (c *Channel) Done() <-chan struct{} { return c.done }

// Addr names one end of a channel.
type Addr struct {
	Session [16]byte
	Channel framing.ChannelID
	Role    Role // whose end
}

// Network returns "traverse".
func (a Addr) Network() string { return "traverse" }

func (a Addr) String() string {
	return fmt.Sprintf("%s/%d/%v", hex.EncodeToString(a.Session[:4]), a.Channel, a.Role)
}

// LocalAddr returns this end's Addr.
func (c *Channel) LocalAddr() net.Addr {
	return Addr{Session: c.s.id, Channel: c.id, Role: c.s.role}
}

// RemoteAddr returns the other end's.
func (c *Channel) RemoteAddr() net.Addr {
	return Addr{Session: c.s.id, Channel: c.id, Role: c.s.role.other()}
}

// SetDeadline sets both deadlines.
func (c *Channel) SetDeadline(t time.Time) error {
	c.readBy.set(t)
	c.writeBy.set(t)
	return nil
}

// SetReadDeadline ends Reads under way or to come with os.ErrDeadlineExceeded at t; the zero time means never.
func (c *Channel) SetReadDeadline(t time.Time) error {
	c.readBy.set(t)
	return nil
}

// SetWriteDeadline does so for Writes.
func (c *Channel) SetWriteDeadline(t time.Time) error {
	c.writeBy.set(t)
	return nil
}

// CloseWrite ends this direction: the peer reads io.EOF behind all that was written. It does not wait.
func (c *Channel) CloseWrite() error {
	s := c.s
	s.mu.Lock()
	defer s.unlock()
	if c.writeErr != nil {
		if c.eofOut {
			return nil
		}
		return c.writeErr
	}
	c.writeErr = errWriteClosed
	c.endOutLocked()
	return nil
}

// endOutLocked queues the end behind what was written, and wakes a Write that waits.
func (c *Channel) endOutLocked() {
	if c.eofOut || c.phase != phaseOpen || c.s.err != nil {
		return
	}
	c.eofOut = true
	c.forgetFileLocked()
	notify(c.writable)
	c.enterLocked()
}

// enterLocked tells the writer that the channel may have something to send.
func (c *Channel) enterLocked() {
	if c.sendableLocked() {
		c.s.ring.enter(c)
		c.s.kickLocked()
	}
}

// Close ends both directions: what was written still goes out, as CloseWrite, and what the peer sends is thrown away. A
// peer that sends on after it could have seen our end gets a RESET with framing.CodeNotReading, which does not take
// from it what it has to read. It does not wait, is idempotent and returns nil.
func (c *Channel) Close() error {
	s := c.s
	s.mu.Lock()
	c.closeLocked()
	s.unlock()
	c.readBy.set(time.Time{})
	c.writeBy.set(time.Time{})
	return nil
}

func (c *Channel) closeLocked() {
	if c.closed {
		return
	}
	c.closed = true
	c.writeErr = errChannelClosed
	c.endOutLocked()
	c.dropInLocked()
	c.s.grantLocked(c)
	c.readErr = errChannelClosed
	notify(c.readable)
	c.doneLocked()
}

// Reset ends both directions at once and gives up what has not been sent or read. The peer's calls fail with a
// *ResetError of this code and reason, 256 bytes of it at most; codes of the user's own begin at
// framing.CodeApplication, and 0 is sent as framing.CodeCancelled. On a channel that is over it only lets go of what is
// unread.
func (c *Channel) Reset(code uint16, reason string) error {
	s := c.s
	s.mu.Lock()
	defer s.unlock()
	if code == uint16(framing.CodeNone) { // on the wire that is an answer
		code = uint16(framing.CodeCancelled)
	}
	if c.phase == phaseOpen && s.err == nil {
		s.resetLocked(c, framing.Code(code), reason)
		return nil
	}
	c.failLocked(&ResetError{Code: framing.Code(code), Reason: reason})
	c.dropInLocked()
	return nil
}

// CloseWithError ends both directions as Close does, but for the end: behind all that was written the peer reads a
// *ResetError of this code and reason, as Reset gives it, and never io.EOF. It does not wait. Where
// nothing is left to send it is Reset, behind Close nothing.
func (c *Channel) CloseWithError(code uint16, reason string) error {
	s := c.s
	s.mu.Lock()
	if c.closed {
		s.unlock()
		return nil
	}
	if c.phase != phaseOpen || s.err != nil || c.outQueue.len() == 0 {
		s.unlock()
		return c.Reset(code, reason)
	}
	if code == uint16(framing.CodeNone) {
		code = uint16(framing.CodeCancelled)
	}
	c.flushing, c.reset = true, framing.Reset{Channel: c.id, Code: framing.Code(code), Reason: reason}
	c.forgetFileLocked()
	c.failLocked(&ResetError{Code: c.reset.Code, Reason: reason})
	c.closed = true
	c.dropInLocked()
	s.grantLocked(c)
	c.enterLocked()
	s.unlock()
	c.readBy.set(time.Time{})
	c.writeBy.set(time.Time{})
	return nil
}

// failLocked ends the channel with its session, or by a RESET. What was received in full stays to be read.
func (c *Channel) failLocked(err error) {
	if c.readErr == nil {
		c.readErr = err
	}
	if c.writeErr == nil {
		c.writeErr = err
	}
	if c.openErr == nil && c.phase == phaseOpening {
		c.openErr = err
	}
	notify(c.readable)
	notify(c.writable)
	c.doneLocked()
}

// doneLocked closes what others wait for.
func (c *Channel) doneLocked() {
	if c.isDone {
		return
	}
	c.isDone = true
	close(c.done)
}
