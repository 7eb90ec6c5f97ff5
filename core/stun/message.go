package stun

import (
	"encoding/binary"
	"errors"
	"iter"
)

// Errors of Parse and of the accessors. They carry no details, so that bad input costs no allocation.
var (
	ErrNotSTUN          = errors.New("stun: not a stun message")                    // first bits or cookie
	ErrLength           = errors.New("stun: length field disagrees with the bytes") // or is no multiple of four
	ErrOverrun          = errors.New("stun: attribute longer than the message")
	ErrFingerprintPlace = errors.New("stun: fingerprint is not the last attribute")
	ErrMissing          = errors.New("stun: attribute missing")
	ErrMalformed        = errors.New("stun: attribute malformed")
)

// Message is a checked view of the bytes of one message. The zero Message has no attributes and must not be asked for
// more. Copies share the bytes.
type Message struct {
	Raw []byte // the whole message, header included

	end         int // attributes in Raw[HeaderLen:end] count; behind it only the following do
	integrity   int // offset of MESSAGE-INTEGRITY, 0: none
	integrity2  int // offset of MESSAGE-INTEGRITY-SHA256, 0: none
	fingerprint int // offset of FINGERPRINT, 0: none
}

// IsMessage reports whether b begins like a STUN message: 20 bytes, two zero bits, the cookie. It tells STUN from other
// protocols on one socket; Parse does the rest.
func IsMessage(b []byte) bool {
	return len(b) >= HeaderLen && b[0]&0xc0 == 0 && binary.BigEndian.Uint32(b[4:]) == Cookie
}

// Parse checks b, which must be exactly one message, and returns a view of it.
func Parse(b []byte) (Message, error) {
	if !IsMessage(b) {
		return Message{}, ErrNotSTUN
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n%4 != 0 || HeaderLen+n != len(b) {
		return Message{}, ErrLength
	}
	m := Message{Raw: b, end: len(b)}
	sealed := false // an integrity attribute was passed
	for off := HeaderLen; off < len(b); {
		// Both ends are multiples of four: an attribute's header always fits.
		t, next := AttrType(binary.BigEndian.Uint16(b[off:])), off+attrLen(b, off)
		if next > len(b) {
			return Message{}, ErrOverrun
		}
		switch {
		case m.fingerprint != 0:
			return Message{}, ErrFingerprintPlace
		case t == AttrFingerprint:
			m.fingerprint = off
			if !sealed {
				m.end = off
			}
		case t == AttrMessageIntegrity && !sealed:
			m.integrity, m.end, sealed = off, next, true
		case t == AttrMessageIntegritySHA256 && m.integrity2 == 0:
			m.integrity2 = off
			if !sealed {
				m.end, sealed = next, true
			}
		}
		off = next
	}
	return m, nil
}

// attrLen returns the length of the attribute at off with its header and padding: 4 to 4 + 65536.
func attrLen(b []byte, off int) int {
	return 4 + pad4(int(binary.BigEndian.Uint16(b[off+2:])))
}

// pad4 rounds up to a multiple of four.
func pad4(n int) int { return (n + 3) &^ 3 }

// Type returns method and class.
func (m Message) Type() Type { return typeOf(binary.BigEndian.Uint16(m.Raw)) }

// TransactionID returns the id.
func (m Message) TransactionID() TransactionID { return TransactionID(m.Raw[8:HeaderLen]) }

// value returns the value of the attribute at off, without room to append into what follows.
func (m Message) value(off int) []byte {
	n := int(binary.BigEndian.Uint16(m.Raw[off+2:]))
	return m.Raw[off+4 : off+4+n : off+4+n]
}

// Attr returns the value of the first attribute of type t, a view.
func (m Message) Attr(t AttrType) ([]byte, bool) {
	switch t {
	case AttrMessageIntegrity:
		return m.at(m.integrity)
	case AttrMessageIntegritySHA256:
		return m.at(m.integrity2)
	case AttrFingerprint:
		return m.at(m.fingerprint)
	}
	for off := HeaderLen; off < m.end; off += attrLen(m.Raw, off) {
		if AttrType(binary.BigEndian.Uint16(m.Raw[off:])) == t {
			return m.value(off), true
		}
	}
	return nil, false
}

func (m Message) at(off int) ([]byte, bool) {
	if off == 0 {
		return nil, false
	}
	return m.value(off), true
}

// Has reports whether there is an attribute of type t.
func (m Message) Has(t AttrType) bool {
	_, ok := m.Attr(t)
	return ok
}

// All yields the attributes that count, in their order, duplicates included.
func (m Message) All() iter.Seq2[AttrType, []byte] {
	return func(yield func(AttrType, []byte) bool) {
		for off := HeaderLen; off < m.end; off += attrLen(m.Raw, off) {
			if !yield(AttrType(binary.BigEndian.Uint16(m.Raw[off:])), m.value(off)) {
				return
			}
		}
		if m.integrity2 >= m.end && m.integrity2 != 0 && !yield(AttrMessageIntegritySHA256, m.value(m.integrity2)) {
			return
		}
		if m.fingerprint != 0 {
			yield(AttrFingerprint, m.value(m.fingerprint))
		}
	}
}

// MaxUnknown is how many types AppendUnknown lists: 4 + 2*16 bytes of UNKNOWN-ATTRIBUTES, so that a message of thousands
// of inventions gets an answer smaller than itself.
const MaxUnknown = 16

// AppendUnknown appends to dst the types that must be understood and that known denies, each once, at most MaxUnknown.
// With known nil, Known decides. A request for which there is any is answered with 420, an indication is dropped.
func (m Message) AppendUnknown(dst []AttrType, known func(AttrType) bool) []AttrType {
	if known == nil {
		known = Known
	}
	first := len(dst)
next:
	for off := HeaderLen; off < m.end && len(dst)-first < MaxUnknown; off += attrLen(m.Raw, off) {
		t := AttrType(binary.BigEndian.Uint16(m.Raw[off:]))
		if !t.Required() || known(t) {
			continue
		}
		for _, seen := range dst[first:] {
			if seen == t {
				continue next
			}
		}
		dst = append(dst, t)
	}
	return dst
}
