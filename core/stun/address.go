package stun

import (
	"encoding/binary"
	"net/netip"
)

// Family is an address family as it stands in an attribute. Values other than the two constants are passed on as they
// came: a server answers them with 440.
type Family uint8

// Families of RFC 8489 §14.1.
const (
	FamilyIPv4 Family = 0x01
	FamilyIPv6 Family = 0x02
)

// FamilyOf returns the family in which a is written: an IPv4 address in IPv6 clothes counts as IPv4.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return FamilyIPv4
	}
	return FamilyIPv6
}

// String returns "IPv4", "IPv6" or "unknown family".
func (f Family) String() string {
	switch f {
	case FamilyIPv4:
		return "IPv4"
	case FamilyIPv6:
		return "IPv6"
	}
	return "unknown family"
}

// An address value is: zero or anything, family, port, 4 or 16 bytes of address.

// Addr returns the address in the first attribute of type t, which is one that is not xored (MAPPED-ADDRESS,
// ALTERNATE-SERVER).
func (m Message) Addr(t AttrType) (netip.AddrPort, error) {
	v, ok := m.Attr(t)
	if !ok {
		return netip.AddrPort{}, ErrMissing
	}
	return decodeAddr(v, nil)
}

// XORAddr returns the address in the first attribute of type t, which is one of the XOR- ones.
func (m Message) XORAddr(t AttrType) (netip.AddrPort, error) {
	v, ok := m.Attr(t)
	if !ok {
		return netip.AddrPort{}, ErrMissing
	}
	return decodeAddr(v, m.Raw[4:HeaderLen])
}

// AppendXORAddrs appends to dst the addresses of all attributes of type t: CreatePermission may name many peers, and a
// dual allocation has two relayed addresses. One malformed address is an error of the whole.
func (m Message) AppendXORAddrs(dst []netip.AddrPort, t AttrType) ([]netip.AddrPort, error) {
	for off := HeaderLen; off < m.end; off += attrLen(m.Raw, off) {
		if AttrType(binary.BigEndian.Uint16(m.Raw[off:])) != t {
			continue
		}
		a, err := decodeAddr(m.value(off), m.Raw[4:HeaderLen])
		if err != nil {
			return dst, err
		}
		dst = append(dst, a)
	}
	return dst, nil
}

// decodeAddr reads an address value, xored with mask, which is cookie and transaction id, or nil.
// RFC 8489 §14.2: IPv4 and the port are xored with the cookie, IPv6 with cookie and transaction id.
func decodeAddr(v, mask []byte) (netip.AddrPort, error) {
	if len(v) < 4 {
		return netip.AddrPort{}, ErrMalformed
	}
	port, host := binary.BigEndian.Uint16(v[2:]), v[4:]
	if mask != nil {
		port ^= Cookie >> 16
	}
	var ip netip.Addr
	switch {
	case Family(v[1]) == FamilyIPv4 && len(host) == 4:
		a := [4]byte(host)
		xorBytes(a[:], mask)
		ip = netip.AddrFrom4(a)
	case Family(v[1]) == FamilyIPv6 && len(host) == 16:
		a := [16]byte(host)
		xorBytes(a[:], mask)
		ip = netip.AddrFrom16(a)
	default:
		return netip.AddrPort{}, ErrMalformed
	}
	return netip.AddrPortFrom(ip, port), nil
}

// xorBytes xors b with as much of mask as there is.
func xorBytes(b, mask []byte) {
	for i := range min(len(b), len(mask)) {
		b[i] ^= mask[i]
	}
}

// appendAddr appends the value for a, xored with mask as in decodeAddr. The zone of an address is dropped.
func appendAddr(dst []byte, a netip.AddrPort, mask []byte) []byte {
	ip, port := a.Addr().Unmap(), a.Port()
	if mask != nil {
		port ^= Cookie >> 16
	}
	dst = append(dst, 0, byte(FamilyOf(ip)), byte(port>>8), byte(port))
	host := len(dst)
	if ip.Is4() {
		b := ip.As4()
		dst = append(dst, b[:]...)
	} else {
		b := ip.As16()
		dst = append(dst, b[:]...)
	}
	xorBytes(dst[host:], mask)
	return dst
}
