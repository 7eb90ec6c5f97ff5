package stun

import "encoding/binary"

// Each accessor below returns ErrMissing when there is no such attribute and ErrMalformed when its length or content is
// not what the standard says.

// fixed returns the value of t, which must be n bytes.
func (m Message) fixed(t AttrType, n int) ([]byte, error) {
	v, ok := m.Attr(t)
	if !ok {
		return nil, ErrMissing
	}
	if len(v) != n {
		return nil, ErrMalformed
	}
	return v, nil
}

// Uint32 returns a value of 32 bits: LIFETIME in seconds, CONNECTION-ID, PRIORITY.
func (m Message) Uint32(t AttrType) (uint32, error) {
	v, err := m.fixed(t, 4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(v), nil
}

// Uint64 returns a value of 64 bits: ICE-CONTROLLED, ICE-CONTROLLING.
func (m Message) Uint64(t AttrType) (uint64, error) {
	v, err := m.fixed(t, 8)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(v), nil
}

// Text returns a view of a value that is text: USERNAME, REALM, NONCE, SOFTWARE, ALTERNATE-DOMAIN. Longer than the
// standard allows is malformed.
func (m Message) Text(t AttrType) ([]byte, error) {
	v, ok := m.Attr(t)
	if !ok {
		return nil, ErrMissing
	}
	if len(v) > maxText(t) {
		return nil, ErrMalformed
	}
	return v, nil
}

// ChannelNumber returns CHANNEL-NUMBER, whatever its range: ValidChannel judges that.
func (m Message) ChannelNumber() (uint16, error) {
	v, err := m.fixed(AttrChannelNumber, 4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint16(v), nil
}

// RequestedTransport returns the IP protocol number of REQUESTED-TRANSPORT.
func (m Message) RequestedTransport() (Transport, error) {
	v, err := m.fixed(AttrRequestedTransport, 4)
	if err != nil {
		return 0, err
	}
	return Transport(v[0]), nil
}

// Transport is an IP protocol number.
type Transport uint8

// Transports that a relayed address can have.
const (
	TransportTCP Transport = 6
	TransportUDP Transport = 17
)

// Family returns the value of REQUESTED-ADDRESS-FAMILY or ADDITIONAL-ADDRESS-FAMILY, which may be neither constant.
func (m Message) Family(t AttrType) (Family, error) {
	v, err := m.fixed(t, 4)
	if err != nil {
		return 0, err
	}
	return Family(v[0]), nil
}

// EvenPort returns the R bit of EVEN-PORT. The standard has one byte of value; four are accepted, because some senders
// write the padding into the length.
func (m Message) EvenPort() (reserve bool, err error) {
	v, ok := m.Attr(AttrEvenPort)
	if !ok {
		return false, ErrMissing
	}
	if len(v) != 1 && len(v) != 4 {
		return false, ErrMalformed
	}
	return v[0]&0x80 != 0, nil
}

// ReservationToken returns RESERVATION-TOKEN.
func (m Message) ReservationToken() (token [8]byte, err error) {
	v, err := m.fixed(AttrReservationToken, 8)
	if err != nil {
		return token, err
	}
	return [8]byte(v), nil
}

// ErrorCode returns ERROR-CODE and a view of its phrase.
func (m Message) ErrorCode() (ErrorCode, []byte, error) {
	v, ok := m.Attr(AttrErrorCode)
	if !ok {
		return 0, nil, ErrMissing
	}
	code, err := decodeCode(v)
	if err != nil {
		return 0, nil, err
	}
	return code, v[4:], nil
}

// decodeCode reads class and number from the third and fourth byte: 21 bits reserved, class 3, number 8.
func decodeCode(v []byte) (ErrorCode, error) {
	if len(v) < 4 || len(v) > 4+MaxText {
		return 0, ErrMalformed
	}
	class, number := ErrorCode(v[2]&7), ErrorCode(v[3])
	if class < 3 || class > 6 || number > 99 {
		return 0, ErrMalformed
	}
	return class*100 + number, nil
}

// AddressError returns ADDRESS-ERROR-CODE: which family a dual allocation did not get, and why.
func (m Message) AddressError() (Family, ErrorCode, error) {
	v, ok := m.Attr(AttrAddressErrorCode)
	if !ok {
		return 0, 0, ErrMissing
	}
	code, err := decodeCode(v)
	if err != nil {
		return 0, 0, err
	}
	return Family(v[0]), code, nil
}

// AppendUnknownAttributes appends to dst the types listed in UNKNOWN-ATTRIBUTES, at most MaxUnknown.
func (m Message) AppendUnknownAttributes(dst []AttrType) ([]AttrType, error) {
	v, ok := m.Attr(AttrUnknownAttributes)
	if !ok {
		return dst, ErrMissing
	}
	if len(v)%2 != 0 {
		return dst, ErrMalformed
	}
	for n := 0; len(v) > 0 && n < MaxUnknown; n++ {
		dst = append(dst, AttrType(binary.BigEndian.Uint16(v)))
		v = v[2:]
	}
	return dst, nil
}

// ICMP returns the ICMP attribute: type and code of the packet that came back, and the MTU where it tells one.
func (m Message) ICMP() (typ, code uint8, data uint32, err error) {
	v, err := m.fixed(AttrICMP, 8)
	if err != nil {
		return 0, 0, 0, err
	}
	return v[2], v[3], binary.BigEndian.Uint32(v[4:]), nil
}

// PasswordAlgorithm is a number of RFC 8489 §18.5.
type PasswordAlgorithm uint16

// Password algorithms; neither has parameters.
const (
	PasswordMD5    PasswordAlgorithm = 1
	PasswordSHA256 PasswordAlgorithm = 2
)

// NextPasswordAlgorithm reads one algorithm from the value of PASSWORD-ALGORITHM, or one after the other from that of
// PASSWORD-ALGORITHMS, until rest is empty.
func NextPasswordAlgorithm(v []byte) (alg PasswordAlgorithm, params, rest []byte, err error) {
	if len(v) < 4 {
		return 0, nil, nil, ErrMalformed
	}
	n := int(binary.BigEndian.Uint16(v[2:]))
	if 4+n > len(v) {
		return 0, nil, nil, ErrMalformed
	}
	// The last one's padding may be missing from the length of the attribute.
	return PasswordAlgorithm(binary.BigEndian.Uint16(v)), v[4 : 4+n], v[min(4+pad4(n), len(v)):], nil
}
