package framing

import (
	"encoding/binary"
	"fmt"
)

// Features tells what a wire can say, beyond frames, channels and their ends. A session does without what is missing.
type Features uint8

// What the native wire has, and dhtnet's has not.
const (
	HasWindows   Features = 1 << iota // Max, MaxSession; without them reading stops while memory is full
	HasAcks                           // Ack: what is sent is kept until the peer has it
	HasResume                         // Resume: a session outlives its link
	HasHalfClose                      // the end of one direction leaves the other open
)

// Has tells whether all of want are there.
func (f Features) Has(want Features) bool { return f&want == want }

// Codec is the seam between a session and the bytes of its wire. It is incremental without a state of its own: a
// session shows it what has arrived, learns where the next frame's body is, and reads that body where it wants to have
// it.
//
// [Native] is this package's wire. The other one in use is dhtnet's: frames are msgpack [channel, bin] behind a head of
// 4 to 7 bytes, a body on channel 0 is one or several [name, channel, state] or session messages, and of those there
// are only {"v": version} (a Hello) and {"p": bool} (a Beacon without a nonce).
//
// An implementation is a value without state, safe for concurrent use.
type Codec interface {
	// Features tells what the wire can say.
	Features() Features
	// HeaderSize returns the length of the longest frame header in bytes.
	HeaderSize() int
	// ParseHeader reads the frame header at the front of b and returns its own length too. It returns ErrShort when b
	// ends before the header does, and any other error when the stream cannot be understood any more.
	ParseHeader(b []byte) (h Header, n int, err error)
	// AppendHeader appends a frame header. A Length of 0 on a data channel is the end of that channel's direction.
	AppendHeader(dst []byte, h Header) []byte
	// ParseControl parses the first message of a body on channel Control or SessionChannel; rest is what follows it,
	// for the next call. The message is valid until p's next.
	ParseControl(p *Parser, channel ChannelID, body []byte) (m Message, rest []byte, err error)
	// AppendControl appends a whole frame with m in it, its header included, and nothing when this wire has no such
	// message.
	AppendControl(dst []byte, m Message) []byte
}

// Native is the codec of ALPN traverse/1, docs/protocol/mux.md.
type Native struct{}

var _ Codec = Native{}

// Features returns all of them.
func (Native) Features() Features { return HasWindows | HasAcks | HasResume | HasHalfClose }

// HeaderSize returns HeaderLen.
func (Native) HeaderSize() int { return HeaderLen }

// ParseHeader is the package's ParseHeader.
func (Native) ParseHeader(b []byte) (Header, int, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return h, 0, err
	}
	return h, HeaderLen, nil
}

// AppendHeader is the package's AppendHeader.
func (Native) AppendHeader(dst []byte, h Header) []byte { return AppendHeader(dst, h) }

// ParseControl parses the one message that a native body is; rest is always empty.
func (Native) ParseControl(p *Parser, channel ChannelID, body []byte) (Message, []byte, error) {
	switch channel {
	case Control:
		q, err := p.ParseChannelRequest(body)
		if err != nil {
			return nil, nil, err
		}
		return &q, nil, nil
	case SessionChannel:
		m, err := p.ParseMessage(body)
		return m, nil, err
	}
	panic(fmt.Sprintf("framing: channel %d carries no control messages", channel))
}

// AppendControl appends m's frame: a *ChannelRequest on channel 0, all others on channel 0xffff. It panics where
// AppendMessage does.
func (Native) AppendControl(dst []byte, m Message) []byte {
	channel := SessionChannel
	if m.MessageType() == TypeRequest {
		channel = Control
	}
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = AppendMessage(dst, m)
	binary.BigEndian.PutUint16(dst[start:], uint16(len(dst)-start-HeaderLen))
	binary.BigEndian.PutUint16(dst[start+2:], uint16(channel))
	return dst
}
