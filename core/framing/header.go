package framing

import "encoding/binary"

// Sizes of a frame, in bytes.
const (
	HeaderLen  = 4     // 2 length + 2 channel
	MaxBody    = 65535 // what 16 bits of length can say
	BulkBody   = 65532 // 4 + 65532 = 4 × 16384: four full TLS records
	FineBody   = 16380 // 4 + 16380 = 16384: one full TLS record
	MaxControl = 4096  // a body on 0 or 0xffff; the longest request has 1.3 KiB, the fullest HELLO 1.5 KiB
)

// ChannelID is a channel's number on the wire.
type ChannelID uint16

// The channels that carry no user's data, and the halves of the rest (PROTOCOL 3: the session's offerer numbers
// from the upper half, the answerer from the lower).
const (
	Control        ChannelID = 0      // ChannelRequests
	FirstAnswerer  ChannelID = 0x0001 // to LastAnswerer: opened by the session's answerer
	LastAnswerer   ChannelID = 0x7fff
	FirstOfferer   ChannelID = 0x8000 // to LastOfferer: opened by the session's offerer
	LastOfferer    ChannelID = 0xfffe
	SessionChannel ChannelID = 0xffff // the session's own messages
)

// IsData tells whether c is a channel that can be opened: neither Control nor SessionChannel.
func (c ChannelID) IsData() bool { return c != Control && c != SessionChannel }

// Header is what stands in front of each body. Length 0 on a data channel ends the sender's direction of it.
type Header struct {
	Length  uint16
	Channel ChannelID
}

// check returns what is wrong with a header that has been read or is about to be written.
func (h Header) check() error {
	switch {
	case h.Channel.IsData():
		return nil
	case h.Length == 0:
		return &ProtocolError{Where: "header", What: "control channel ended"}
	case h.Length > MaxControl:
		return &ProtocolError{Where: "header", What: "control body longer than 4096"}
	}
	return nil
}

// ParseHeader reads the header from the first HeaderLen bytes of b; the rest is not looked at. It returns ErrShort
// when there are fewer, and a *ProtocolError for an empty or overlong body on a control channel.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, ErrShort
	}
	h := Header{
		Length:  binary.BigEndian.Uint16(b),
		Channel: ChannelID(binary.BigEndian.Uint16(b[2:])),
	}
	return h, h.check()
}

// AppendHeader appends the 4 bytes of h. It panics when h is one that ParseHeader refuses.
func AppendHeader(dst []byte, h Header) []byte {
	if err := h.check(); err != nil {
		panic(err)
	}
	dst = binary.BigEndian.AppendUint16(dst, h.Length)
	return binary.BigEndian.AppendUint16(dst, uint16(h.Channel))
}
