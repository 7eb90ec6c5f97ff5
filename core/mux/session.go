package mux

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/core/framing"
)

// Session is many channels over one link at a time. It is safe for concurrent use. It lives until Close, until the peer
// closes or breaks the protocol, until it has drained after GoAway, or until it has been without a link for
// Config.Linger; then every call fails, and Done is closed when the last of its goroutines has returned.
type Session struct {
	codec   framing.Codec
	cfg     Config // with defaults
	role    Role
	id      [16]byte
	key     [32]byte // of RESUME
	created time.Time

	helloed    chan struct{}            // closed when the peer's HELLO is here
	accounts   []framing.AccountVersion // of the peer's HELLO
	ended      chan struct{}            // closed when err is set
	done       chan struct{}            // closed when ended and all goroutines have returned
	inboxReady chan struct{}            // holds a token while inbox may have requests
	attachSlot chan struct{}            // held by the one Attach under way
	turns      chan struct{}            // one token for each of this side's requests without an answer

	mu sync.Mutex // guards the fields below; held for arithmetic and short copies, never for I/O. unlock releases it

	err     error           // why the session ended
	bye     *framing.GoAway // to be sent behind what is queued
	drain   *GoAwayError
	running int                  // goroutines of links
	dead    []io.ReadWriteCloser // to be closed by unlock

	link      *link // carries the session; nil while it lingers
	kept      *link // carried it before, lives, and may again; nil: none
	keepLink  bool  // link is to be kept when another replaces it
	down      chan struct{}
	isDown    bool // down is closed
	linkErr   error
	epoch     uint32 // of the link
	lastEpoch uint32 // last assigned, offerer
	attaching int    // RESUMEs sent and not answered: no ACK meanwhile

	limits   peerLimits
	channels map[framing.ChannelID]*Channel
	used     idSet
	nextID   int // of this role's numbers
	outbound int // channels in the map that this side opened
	inbound  int
	resting  idSet // this side's numbers that are not free yet, as listed in
	rests    queue[rest]
	// ackedHere says that an ACK has come on the present link, or that it is the first.
	ackedHere bool
	inbox     queue[*Request]
	pending   int // requests neither accepted nor declined

	// Sending. A body is counted against the windows when it is queued, so whatever is queued may be written.
	out      sendWindow
	queued   int // bytes of body
	waiters  []*Channel
	ring     ring
	requests queue[framing.ChannelRequest]
	answers  int // of requests
	control  control
	batch    gather
	retained retained

	// Receiving.
	in       recvWindow
	spare    uint64        // of Config.SessionWindow: what windows may still grow by
	wide     []*Channel    // whose windows have grown
	trip     time.Duration // the link's shortest round trip so far; 0: unknown
	received uint64        // bytes of whole frames outside channel 0xffff
	acked    uint64        // of received, what the peer knows
	ackArmed bool
	rxMemory int // capacity of the buffers that hold unread bytes

	live      liveness
	nextNonce uint64
	probes    map[uint64]chan struct{}

	ackTimer, beatTimer, lingerTimer, byeTimer *time.Timer

	stats Stats

	files                atomic.Int32  // held for what is queued or kept
	fileSent, fileCopied atomic.Uint64 // bytes of them, as Stats
}

// newSession returns a session without a link.
func newSession(role Role, id [16]byte, cfg Config) *Session {
	s := &Session{
		codec: framing.Native{}, cfg: cfg, role: role, id: id, created: time.Now(),
		helloed: make(chan struct{}), ended: make(chan struct{}), done: make(chan struct{}),
		inboxReady: make(chan struct{}, 1), attachSlot: make(chan struct{}, 1), turns: make(chan struct{}, maxUnanswered),
		down: make(chan struct{}), limits: leastLimits, channels: map[framing.ChannelID]*Channel{},
		out:       sendWindow{limit: framing.MinSessionWindow},
		in:        newRecvWindow(uint64(cfg.shared())),
		spare:     uint64(cfg.SessionWindow - cfg.shared()),
		ackedHere: true,
		live:      liveness{after: cfg.BeaconAfter, timeout: cfg.BeaconTimeout},
	}
	if len(cfg.Secret) != 0 {
		s.key = framing.ResumeKey(cfg.Secret)
	}
	s.ackTimer = stoppedTimer(s.ackTick)
	s.beatTimer = stoppedTimer(s.beatTick)
	s.lingerTimer = stoppedTimer(s.lingerTick)
	s.byeTimer = stoppedTimer(s.byeTick)
	return s
}

// stoppedTimer returns a timer that calls f, on a goroutine of its own, once Reset is called and the time has passed.
func stoppedTimer(f func()) *time.Timer {
	t := time.AfterFunc(time.Hour, f)
	t.Stop()
	return t
}

// unlock releases mu and then closes the links that were given up under it, since that may block.
func (s *Session) unlock() {
	dead := s.dead
	s.dead = nil
	s.mu.Unlock()
	for _, l := range dead {
		_ = l.Close()
	}
}

// ID returns the session's id, the same on both sides.
func (s *Session) ID() [16]byte { return s.id }

// Role returns this side's part.
func (s *Session) Role() Role { return s.role }

// Done returns a channel that is closed when the session has ended and its last goroutine has returned.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session ended, and nil while it lives.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.unlock()
	return s.err
}

// LinkDown returns a channel that is closed when the session has lost its link, or has ended; an Attach that succeeds
// begins a new one. A link that is replaced while it lives is not a loss. So to keep a session linked:
//
//	for {
//		select {
//		case <-s.Done():
//			return
//		case <-s.LinkDown():
//			// s.LinkErr() says why; make a link and Attach it
//		}
//	}
func (s *Session) LinkDown() <-chan struct{} {
	s.mu.Lock()
	defer s.unlock()
	return s.down
}

// Link returns the stream that carries the session now, nil while there is none.
func (s *Session) Link() io.ReadWriteCloser {
	s.mu.Lock()
	defer s.unlock()
	if s.link == nil {
		return nil
	}
	return s.link.rwc
}

// LinkErr returns why the last link was lost, and nil when none has been.
func (s *Session) LinkErr() error {
	s.mu.Lock()
	defer s.unlock()
	return s.linkErr
}

// Draining tells whether the session takes no new channels, since one side said GoAway or it has ended.
func (s *Session) Draining() bool {
	s.mu.Lock()
	defer s.unlock()
	return s.drain != nil || s.err != nil
}

// idSet is a set of channel numbers. It is allocated, 8 KiB, with the first.
type idSet struct {
	bits *[1 << 16 / 64]uint64
}

func (s *idSet) add(id framing.ChannelID) {
	if s.bits == nil {
		s.bits = new([1 << 16 / 64]uint64)
	}
	s.bits[id/64] |= 1 << (id % 64)
}

func (s *idSet) remove(id framing.ChannelID) { s.bits[id/64] &^= 1 << (id % 64) }

func (s *idSet) has(id framing.ChannelID) bool {
	return s.bits != nil && s.bits[id/64]&(1<<(id%64)) != 0
}

// kickLocked tells the writer that there is something to write.
func (s *Session) kickLocked() {
	if s.link == nil {
		return
	}
	notify(s.link.kick)
}

// notify puts a token into a channel of one place, unless there is one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// releaseLocked gives back every buffer of the sending side, at the end.
func (s *Session) releaseLocked() {
	s.batch.drop()
	s.retained.release()
	s.requests.reset()
	s.control = control{}
	s.ring = ring{}
	s.waiters = nil
}
