package mux

import (
	"fmt"
	"time"

	"traverse.internal/core/framing"
)

// Role is a side's part in a session, for the session's life: whoever calls the first link is the offerer.
type Role uint8

// The roles. Their numbers are framing's sides.
const (
	Offerer  = Role(framing.OffererSide)  // opens channels 0x8000 to 0xfffe, assigns the session id and link epochs
	Answerer = Role(framing.AnswererSide) // opens channels 0x0001 to 0x7fff
)

func (r Role) String() string {
	switch r {
	case Offerer:
		return "offerer"
	case Answerer:
		return "answerer"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

func (r Role) side() framing.Side { return framing.Side(r) }

// other returns the peer's role.
func (r Role) other() Role { return Offerer + Answerer - r }

// owns tells whether this role opens channels under the number.
func (r Role) owns(id framing.ChannelID) bool { return (id >= framing.FirstOfferer) == (r == Offerer) }

// firstID and ids are the numbers of a role: 32,767 each.
func (r Role) firstID() framing.ChannelID {
	if r == Offerer {
		return framing.FirstOfferer
	}
	return framing.FirstAnswerer
}

const ids = int(framing.LastOfferer-framing.FirstOfferer) + 1

// Limits that are not configured.
const (
	// maxBatch is the longest write on a link in bytes: four full TLS records.
	maxBatch = 64 << 10

	// readBuffer is how much is read from a link at a time, in bytes.
	readBuffer = 64 << 10

	// queueLimit is how many bytes of body a channel may have queued for the writer: one frame is being written while
	// another waits and the user fills a third.
	queueLimit = 2 * framing.BulkBody

	// adoptBody is the length in bytes from which a body gets a buffer of its own; a shorter one is copied behind the
	// last.
	adoptBody = 4 << 10

	// directBody is the length in bytes from which a queued body is written from its own buffer, alone and uncopied.
	// The buffer (72 KiB) is then kept until it is acknowledged, so at least 4/9 of it is in use.
	directBody = 32 << 10

	// tailBody is how much longer than one frame a queued body may be when that is all of a Write: the rest is a second
	// frame in the same buffer and the same write on the link. So 64 KiB, the commonest length and 4 bytes more than a
	// frame takes, is one write and not two.
	tailBody = 4 << 10

	// lockedCopy is how many bytes are copied with the session's lock held rather than unlock and lock again (0.1 µs).
	lockedCopy = 2 << 10

	// ackEvery and ackAfter bound what the peer keeps for us: an ACK is sent when this many bytes of frames have come
	// since the last, or this long after the first of them.
	ackEvery = 64 << 10
	ackAfter = 50 * time.Millisecond

	// controlSlack is what frames on channel 0 may add to what is kept for the peer, in bytes: 1,024 requests of the
	// longest name, or 20,000 of a usual one.
	controlSlack = 1 << 20

	// firstFrameTime is what the peer has for its first frame on a link.
	firstFrameTime = 10 * time.Second

	// closeTime bounds the good-bye: flushing what is queued, GOAWAY, and the peer closing its side.
	closeTime = time.Second
)

// Config says how a session behaves. The zero value of each field means its default.
type Config struct {
	// Secret is the exporter of the session's first link (framing.ExporterLabel), 32 bytes on both sides the same. It
	// keys RESUME; a session without one cannot be attached to another link.
	Secret []byte

	// SessionID is the offerer's to choose; random when zero. The answerer takes the offerer's.
	SessionID [16]byte

	// Accounts is what HELLO says of the device lists that this side knows. At most framing.MaxAccounts.
	Accounts []framing.AccountVersion

	// Window is how many bytes may lie unread on one channel at first; the peer's writes wait beyond. Default and least
	// 256 KiB.
	Window int

	// WindowMax is how far a channel's window grows when it is too short for the path and its reader keeps up: a path
	// carries at most that much per round trip and channel. Default 16 MiB, or Window when that is more; least Window,
	// which means no growth.
	WindowMax int

	// SessionWindow is how many bytes may lie unread on all channels together, and also how many bytes may wait here to
	// be sent and acknowledged; writes wait beyond. A third of it, 1 MiB at least, is what all channels share from the
	// start, the rest is what windows may grow by. Default 24 MiB, least 1 MiB. doc.go has the arithmetic of the memory.
	SessionWindow int

	// MaxChannels is how many channels the peer may have open that it opened; requests beyond are declined. Default
	// 4096, least 16.
	MaxChannels int

	// MaxPending is how many of the peer's requests may wait for Accept or Decline; requests beyond are declined with
	// the reason "busy". Default 256.
	MaxPending int

	// BeaconAfter is how long the link may be silent before the peer is asked for a sign of life. Default 30 s.
	BeaconAfter time.Duration

	// BeaconTimeout is how long the peer may take for it; then the link is dropped. Default 3 s.
	BeaconTimeout time.Duration

	// Linger is how long the session waits for another link when it has none; then it ends with a *LinkError. Default
	// 60 s.
	Linger time.Duration
}

func withDefault[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// withDefaults fills what is zero.
func (c Config) withDefaults() Config {
	c.Window = withDefault(c.Window, framing.MinInitialWindow)
	c.WindowMax = withDefault(c.WindowMax, max(16<<20, c.Window))
	c.SessionWindow = withDefault(c.SessionWindow, 24<<20)
	c.MaxChannels = withDefault(c.MaxChannels, 4096)
	c.MaxPending = withDefault(c.MaxPending, 256)
	c.BeaconAfter = withDefault(c.BeaconAfter, 30*time.Second)
	c.BeaconTimeout = withDefault(c.BeaconTimeout, 3*time.Second)
	c.Linger = withDefault(c.Linger, 60*time.Second)
	return c
}

// check names the first field that is wrong.
func (c Config) check() error {
	switch {
	case len(c.Secret) != 0 && len(c.Secret) != 32:
		return fmt.Errorf("mux: config: Secret has %d bytes, want 32", len(c.Secret))
	case len(c.Accounts) > framing.MaxAccounts:
		return fmt.Errorf("mux: config: %d Accounts, at most %d", len(c.Accounts), framing.MaxAccounts)
	case c.Window < framing.MinInitialWindow || c.Window > framing.MaxOffset:
		return fmt.Errorf("mux: config: Window is %d bytes, want at least %d", c.Window, framing.MinInitialWindow)
	case c.WindowMax < c.Window || c.WindowMax > framing.MaxOffset:
		return fmt.Errorf("mux: config: WindowMax is %d bytes, want at least Window, %d", c.WindowMax, c.Window)
	case c.SessionWindow < framing.MinSessionWindow || c.SessionWindow > framing.MaxOffset:
		return fmt.Errorf("mux: config: SessionWindow is %d bytes, want at least %d", c.SessionWindow, framing.MinSessionWindow)
	case c.MaxChannels < framing.MinMaxChannels || c.MaxChannels > ids:
		return fmt.Errorf("mux: config: MaxChannels is %d, want %d to %d", c.MaxChannels, framing.MinMaxChannels, ids)
	case c.MaxPending < 1:
		return fmt.Errorf("mux: config: MaxPending is %d, want at least 1", c.MaxPending)
	case c.BeaconAfter < 0 || c.BeaconTimeout < 0 || c.Linger < 0:
		return fmt.Errorf("mux: config: a negative time")
	}
	return nil
}

// shared is the part of SessionWindow that all channels share from the start.
func (c Config) shared() int { return max(framing.MinSessionWindow, c.SessionWindow/3) }

// hello is what this side says first.
func (c Config) hello(id [16]byte) *framing.Hello {
	return &framing.Hello{
		Version: framing.Version, SessionID: id, MaxBody: framing.MaxBody,
		InitialWindow: uint64(c.Window), SessionWindow: uint64(c.shared()), MaxChannels: uint32(c.MaxChannels),
		AccountLists: c.Accounts,
	}
}

// peerLimits are what the peer takes.
type peerLimits struct {
	body     int    // longest body sent to it
	window   uint64 // of each channel, at first
	session  uint64 // of all together
	channels int    // that this side may have open
}

// leastLimits are what every peer takes, before its HELLO is here.
var leastLimits = peerLimits{
	body: framing.MinMaxBody, window: framing.MinInitialWindow,
	session: framing.MinSessionWindow, channels: framing.MinMaxChannels,
}

func limitsOf(h *framing.Hello) peerLimits {
	return peerLimits{
		body:     min(int(h.MaxBody), framing.BulkBody),
		window:   h.InitialWindow,
		session:  h.SessionWindow,
		channels: min(int(h.MaxChannels), ids),
	}
}
