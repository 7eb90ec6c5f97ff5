package stun

import (
	"encoding/binary"
	"errors"
)

// Errors of framing and of ChannelData.
var (
	ErrChannelData   = errors.New("stun: channel data shorter than its length")
	ErrChannelNumber = errors.New("stun: not a channel number")
	ErrFrame         = errors.New("stun: neither a stun message nor channel data")
)

const (
	// MinChannel and MaxChannel bound the channel numbers of RFC 8656 §12.
	MinChannel, MaxChannel = 0x4000, 0x4fff
	// ChannelDataHeaderLen is number 2 and length 2.
	ChannelDataHeaderLen = 4
	// MaxFrame is the longest frame on a stream. ChannelData is shorter: 4 + 65536.
	MaxFrame = MaxMessage
)

// Kind is what the first byte of a datagram or frame says it is (RFC 7983 §7).
type Kind uint8

// Kinds that a TURN or ICE socket can meet.
const (
	KindOther       Kind = iota // to be dropped, or the stream to be closed
	KindSTUN                    // 0x00 to 0x03
	KindTLS                     // 0x14 to 0x3f, DTLS or TLS records
	KindChannelData             // 0x40 to 0x4f
)

// KindOf classifies by the first byte.
func KindOf(first byte) Kind {
	switch {
	case first <= 0x03:
		return KindSTUN
	case first >= 0x14 && first <= 0x3f:
		return KindTLS
	case first >= 0x40 && first <= 0x4f:
		return KindChannelData
	}
	return KindOther
}

// ValidChannel reports whether n can be bound to a peer.
func ValidChannel(n uint16) bool { return n >= MinChannel && n <= MaxChannel }

// ParseChannelData reads ChannelData: number, length, data. What follows the data is ignored, be it the padding that a
// stream needs and a datagram may have (RFC 8656 §12.5). data is a view.
func ParseChannelData(b []byte) (num uint16, data []byte, err error) {
	if len(b) < ChannelDataHeaderLen {
		return 0, nil, ErrChannelData
	}
	num = binary.BigEndian.Uint16(b)
	if !ValidChannel(num) {
		return 0, nil, ErrChannelNumber
	}
	end := ChannelDataHeaderLen + int(binary.BigEndian.Uint16(b[2:]))
	if end > len(b) {
		return 0, nil, ErrChannelData
	}
	return num, b[ChannelDataHeaderLen:end:end], nil
}

// AppendChannelDataHeader appends the header of ChannelData with n bytes of data, at most 65535.
func AppendChannelDataHeader(dst []byte, num uint16, n int) []byte {
	return append(dst, byte(num>>8), byte(num), byte(n>>8), byte(n))
}

// ChannelDataPadding returns how many zeros follow n bytes of data on a stream.
func ChannelDataPadding(n int) int { return pad4(n) - n }

// StreamFrameLen looks at the beginning of a stream. n is the length of the first frame there, padding included, or 0
// while b is too short to tell; need is how many bytes to read before asking again: 0 means that b[:n] is the frame. An
// error means that the stream is garbage and has to be closed, because nothing says where the next frame would begin.
//
// A caller that reads what need asks for, and no more, never reads beyond the frame.
func StreamFrameLen(b []byte) (n, need int, err error) {
	if len(b) == 0 {
		return 0, 4, nil
	}
	message := b[0]&0xc0 == 0
	if !message && KindOf(b[0]) != KindChannelData {
		return 0, 0, ErrFrame
	}
	if len(b) < 4 {
		return 0, 4 - len(b), nil
	}
	n = int(binary.BigEndian.Uint16(b[2:]))
	if message {
		if n%4 != 0 || len(b) >= 8 && binary.BigEndian.Uint32(b[4:]) != Cookie {
			return 0, 0, ErrFrame
		}
		if len(b) < HeaderLen { // the cookie comes before the rest is waited for
			return HeaderLen + n, HeaderLen - len(b), nil
		}
		n += HeaderLen
	} else {
		n = ChannelDataHeaderLen + pad4(n) // RFC 8656 §12.5: padded on streams; the length does not count it
	}
	return n, max(0, n-len(b)), nil
}
