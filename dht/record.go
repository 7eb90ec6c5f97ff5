package dht

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

// maxAddrs is how many addresses a presence record names; a request is sent to each of them.
const maxAddrs = 6

// record is a contact's presence: where it can be asked directly, and until when that holds.
type record struct {
	expiry time.Time // as the contact's clock has it
	addrs  []netip.AddrPort
}

// fresh reports whether the record holds at now. Wrong clocks are not forgiven here: an expired record is still tried,
// but not waited for.
func (r record) fresh(now time.Time) bool { return now.Before(r.expiry) }

var errRecord = errors.New("dht: malformed presence record")

// recordVersion is the first byte of a record's body. A reader refuses other versions and ignores what follows the
// addresses.
const recordVersion = 1

// appendRecord appends the body of a presence record: version, number of addresses, and for each its length in bytes,
// the address and the port.
func appendRecord(dst []byte, addrs []netip.AddrPort) []byte {
	addrs = addrs[:min(len(addrs), maxAddrs)]
	dst = append(dst, recordVersion, byte(len(addrs)))
	for _, a := range addrs {
		ip := a.Addr().AsSlice()
		dst = append(dst, byte(len(ip)))
		dst = append(dst, ip...)
		dst = binary.BigEndian.AppendUint16(dst, a.Port())
	}
	return dst
}

// parseRecord reads the body of a presence record.
func parseRecord(b []byte) ([]netip.AddrPort, error) {
	if len(b) < 2 || b[0] != recordVersion || b[1] > maxAddrs {
		return nil, errRecord
	}
	n, b := int(b[1]), b[2:]
	addrs := make([]netip.AddrPort, 0, n)
	for range n {
		if len(b) == 0 || b[0] != 4 && b[0] != 16 || len(b) < 1+int(b[0])+2 {
			return nil, errRecord
		}
		end := 1 + int(b[0])
		ip, _ := netip.AddrFromSlice(b[1:end])
		addr := netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[end:]))
		if ip.Is4In6() || addr.Port() == 0 {
			return nil, errRecord // one spelling per address
		}
		addrs = append(addrs, addr)
		b = b[end+2:]
	}
	return addrs, nil
}
