package arq

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Datagrams is what a Stream runs on: packets that arrive whole, at most once and in any order, or not at all.
type Datagrams interface {
	// Send sends packets, all but the last of one length. It never waits: what finds no room is lost. tooBig says that
	// some were longer than the path takes. An error means that nothing will be sent any more.
	Send(packets [][]byte) (tooBig bool, err error)
	// Receive waits until there are packets and hands them to take, which does not keep them. An error means that
	// nothing will come any more. One goroutine at a time.
	Receive(take func(packet []byte)) error
	// Close ends both.
	Close() error
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
}

// Config of a Stream. Zero values mean the default in brackets. Both ends may differ.
type Config struct {
	MaxPacket int           // bytes of a packet that every path takes [1150]
	Probe     int           // bytes of a packet that the path may take; tried, and used once one has come through [MaxPacket: none]
	Window    int           // bytes that may be under way, and that may wait to be read [8 MiB]
	Patience  time.Duration // without an acknowledgement of what was sent, after which the stream is broken [20 s]
}

// Limits that are not configurable.
const (
	minPacket   = 512                    // a smaller MaxPacket is a mistake
	maxPacket   = 9000                   // and so is a larger one
	firstGrant  = 256 << 10              // bytes that a peer may send before it was granted more
	maxHoles    = 512                    // of what has come out of order; a packet that would make one more is dropped
	maxAckRange = 32                     // ranges that one ACK lists
	closeWait   = 250 * time.Millisecond // for the last bytes to be acknowledged
)

func (c Config) withDefaults() Config {
	if c.MaxPacket == 0 {
		c.MaxPacket = 1150
	}
	c.MaxPacket = min(max(c.MaxPacket, minPacket), maxPacket)
	c.Probe = min(max(c.Probe, c.MaxPacket), maxPacket)
	if c.Window == 0 {
		c.Window = 8 << 20
	}
	c.Window = max(c.Window, firstGrant)
	if c.Patience == 0 {
		c.Patience = 20 * time.Second
	}
	return c
}

// Errors that a caller may branch on.
var (
	ErrClosed = fmt.Errorf("arq: stream is closed: %w", net.ErrClosed)
	// ErrTruncated is what Read returns when the peer closed the stream without CloseWrite. It is never io.EOF.
	ErrTruncated = fmt.Errorf("arq: closed by the peer: %w", io.ErrUnexpectedEOF)
	ErrSilent    = errors.New("arq: the peer acknowledges nothing any more")
	errProtocol  = errors.New("arq: the peer broke the protocol")
)

// Stats of a Stream, since it began. The last four are of now.
type Stats struct {
	PacketsSent, PacketsReceived uint64
	PacketsLost, Resent          uint64 // declared lost; bytes sent again
	Timeouts                     uint64 // times that nothing was heard and a packet was sent to ask
	TooBig                       uint64 // times that the path took no packet of that length

	RTT, MinRTT time.Duration
	Rate        uint64 // bytes a second, the path's as last measured
	Packet      int    // bytes of a full packet
}
