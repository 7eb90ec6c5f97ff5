package stun

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// ErrTooLong is the Builder's error for more than 65,532 bytes of attributes.
var ErrTooLong = errors.New("stun: message too long")

// Builder appends one message to a slice. Its methods panic when something is added behind an integrity or fingerprint
// attribute that the receiver would have to ignore: only our own code can do that.
type Builder struct {
	buf   []byte
	start int  // of the message in buf
	stage byte // what was added last of the attributes that have a place
	long  bool // an attribute did not fit and was left out
}

// Stages, in the order in which their attributes may stand.
const (
	stageAttrs byte = iota
	stageIntegrity
	stageIntegritySHA256
	stageFingerprint
)

// New begins a message behind what is already in buf, usually buf[:0]. It allocates only when buf has no room.
func New(buf []byte, t Type, id TransactionID) Builder {
	b := Builder{start: len(buf)}
	buf = binary.BigEndian.AppendUint16(buf, t.wire())
	buf = append(buf, 0, 0)
	buf = binary.BigEndian.AppendUint32(buf, Cookie)
	b.buf = append(buf, id[:]...)
	return b
}

// Respond begins the response of class c to m.
func Respond(buf []byte, m Message, c Class) Builder {
	return New(buf, Type{m.Type().Method, c}, m.TransactionID())
}

// Bytes returns the slice given to New with the message appended.
func (b *Builder) Bytes() []byte { return b.buf }

// Err returns ErrTooLong if an attribute did not fit. The bytes are a valid message without it.
func (b *Builder) Err() error {
	if b.long {
		return ErrTooLong
	}
	return nil
}

// begin appends the header of an attribute with n bytes of value and sets the message's length as if they were there.
func (b *Builder) begin(t AttrType, n int, stage byte) bool {
	if b.stage > stage || b.stage == stage && stage != stageAttrs {
		panic("stun: " + t.String() + " added where the receiver ignores it")
	}
	length := len(b.buf) - b.start - HeaderLen + 4 + pad4(n)
	if n > 0xffff || length > MaxMessage-HeaderLen {
		b.long = true
		return false
	}
	b.stage = stage
	b.buf = append(b.buf, byte(t>>8), byte(t), byte(n>>8), byte(n))
	binary.BigEndian.PutUint16(b.buf[b.start+2:], uint16(length))
	return true
}

// pad closes a value of n bytes.
func (b *Builder) pad(n int) {
	const zeros = "\x00\x00\x00"
	b.buf = append(b.buf, zeros[:pad4(n)-n]...)
}

// Add appends an attribute with the given value.
func (b *Builder) Add(t AttrType, value []byte) {
	if b.begin(t, len(value), stageAttrs) {
		b.buf = append(b.buf, value...)
		b.pad(len(value))
	}
}

// AddText appends an attribute whose value is text.
func (b *Builder) AddText(t AttrType, value string) {
	if b.begin(t, len(value), stageAttrs) {
		b.buf = append(b.buf, value...)
		b.pad(len(value))
	}
}

// AddHeader appends only the header of an attribute, for a value of n bytes that stays where it is. The message is whole
// when those n bytes follow Bytes, and then the returned number of zeros. Nothing may be added afterwards.
func (b *Builder) AddHeader(t AttrType, n int) (padding int) {
	if b.begin(t, n, stageAttrs) {
		b.stage = stageFingerprint
	}
	return pad4(n) - n
}

// AddUint32 appends LIFETIME in seconds, CONNECTION-ID or PRIORITY.
func (b *Builder) AddUint32(t AttrType, v uint32) {
	if b.begin(t, 4, stageAttrs) {
		b.buf = binary.BigEndian.AppendUint32(b.buf, v)
	}
}

// AddUint64 appends ICE-CONTROLLED or ICE-CONTROLLING.
func (b *Builder) AddUint64(t AttrType, v uint64) {
	if b.begin(t, 8, stageAttrs) {
		b.buf = binary.BigEndian.AppendUint64(b.buf, v)
	}
}

// AddAddr appends an address that is not xored (MAPPED-ADDRESS, ALTERNATE-SERVER).
func (b *Builder) AddAddr(t AttrType, a netip.AddrPort) {
	if b.begin(t, addrLen(a), stageAttrs) {
		b.buf = appendAddr(b.buf, a, nil)
	}
}

// AddXORAddr appends an address of one of the XOR- attributes.
func (b *Builder) AddXORAddr(t AttrType, a netip.AddrPort) {
	if b.begin(t, addrLen(a), stageAttrs) {
		b.buf = appendAddr(b.buf, a, b.buf[b.start+4:b.start+HeaderLen])
	}
}

// addrLen returns the length of an address value: 2 and port 2, and the address.
func addrLen(a netip.AddrPort) int {
	if FamilyOf(a.Addr()) == FamilyIPv4 {
		return 2 + 2 + 4
	}
	return 2 + 2 + 16
}

// AddChannelNumber appends CHANNEL-NUMBER.
func (b *Builder) AddChannelNumber(n uint16) { b.AddUint32(AttrChannelNumber, uint32(n)<<16) }

// AddRequestedTransport appends REQUESTED-TRANSPORT.
func (b *Builder) AddRequestedTransport(t Transport) {
	b.AddUint32(AttrRequestedTransport, uint32(t)<<24)
}

// AddFamily appends REQUESTED-ADDRESS-FAMILY or ADDITIONAL-ADDRESS-FAMILY.
func (b *Builder) AddFamily(t AttrType, f Family) { b.AddUint32(t, uint32(f)<<24) }

// AddEvenPort appends EVEN-PORT without the R bit.
func (b *Builder) AddEvenPort() { b.AddText(AttrEvenPort, "\x00") }

// AddEvenPortReserve appends EVEN-PORT with the R bit: keep the next port for me.
func (b *Builder) AddEvenPortReserve() { b.AddText(AttrEvenPort, "\x80") }

// AddErrorCode appends ERROR-CODE with the recommended phrase.
func (b *Builder) AddErrorCode(c ErrorCode) { b.AddError(c, c.Phrase()) }

// AddError appends ERROR-CODE with a phrase of one's own.
func (b *Builder) AddError(c ErrorCode, phrase string) { b.addCode(AttrErrorCode, 0, c, phrase) }

// AddAddressError appends ADDRESS-ERROR-CODE.
func (b *Builder) AddAddressError(f Family, c ErrorCode) {
	b.addCode(AttrAddressErrorCode, f, c, c.Phrase())
}

func (b *Builder) addCode(t AttrType, f Family, c ErrorCode, phrase string) {
	if b.begin(t, 4+len(phrase), stageAttrs) {
		b.buf = append(b.buf, byte(f), 0, byte(c/100), byte(c%100))
		b.buf = append(b.buf, phrase...)
		b.pad(len(phrase))
	}
}

// AddUnknownAttributes appends UNKNOWN-ATTRIBUTES.
func (b *Builder) AddUnknownAttributes(types []AttrType) {
	if b.begin(AttrUnknownAttributes, 2*len(types), stageAttrs) {
		for _, t := range types {
			b.buf = binary.BigEndian.AppendUint16(b.buf, uint16(t))
		}
		b.pad(2 * len(types))
	}
}

// AddICMP appends the ICMP attribute.
func (b *Builder) AddICMP(typ, code uint8, data uint32) {
	b.AddUint64(AttrICMP, uint64(typ)<<40|uint64(code)<<32|uint64(data))
}

// AddPasswordAlgorithms appends PASSWORD-ALGORITHMS with algorithms that have no parameters.
func (b *Builder) AddPasswordAlgorithms(algs ...PasswordAlgorithm) {
	if b.begin(AttrPasswordAlgorithms, 4*len(algs), stageAttrs) {
		for _, a := range algs {
			b.buf = binary.BigEndian.AppendUint32(b.buf, uint32(a)<<16)
		}
	}
}

// AddPasswordAlgorithm appends PASSWORD-ALGORITHM with one that has no parameters.
func (b *Builder) AddPasswordAlgorithm(a PasswordAlgorithm) {
	b.AddUint32(AttrPasswordAlgorithm, uint32(a)<<16)
}
