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
	seq    int64     // of the item that it was in
	places
}

// newer reports whether r replaces other: it holds longer, or as long, to the second, and was written later.
func (r record) newer(other record) bool {
	return r.expiry.After(other.expiry) || r.expiry.Equal(other.expiry) && r.seq > other.seq
}

// places are what a record says.
type places struct {
	addrs  []netip.AddrPort
	relays []netip.AddrPort // where the device is registered for push
}

// fresh reports whether the record holds at now. Wrong clocks are not forgiven here: an expired record is still tried,
// but not waited for.
func (r record) fresh(now time.Time) bool { return now.Before(r.expiry) }

var errRecord = errors.New("dht: malformed presence record")

// recordVersion is the first byte of a record's body. A reader refuses other versions and ignores what follows the
// relays.
const recordVersion = 1

// maxRelays is how many addresses of relays it names beside.
const maxRelays = 4

// appendRecord appends the body of a presence record: version, and then the addresses of the device and those of its relays, of each the
// number, and for each address its length in bytes, the address and the port. Without relays their number is left out, as it was before
// there were any.
func appendRecord(dst []byte, p places) []byte {
	dst = appendAddrs(append(dst, recordVersion), p.addrs[:min(len(p.addrs), maxAddrs)])
	if len(p.relays) == 0 {
		return dst
	}
	return appendAddrs(dst, p.relays[:min(len(p.relays), maxRelays)])
}

func appendAddrs(dst []byte, addrs []netip.AddrPort) []byte {
	dst = append(dst, byte(len(addrs)))
	for _, a := range addrs {
		ip := a.Addr().AsSlice()
		dst = append(dst, byte(len(ip)))
		dst = append(dst, ip...)
		dst = binary.BigEndian.AppendUint16(dst, a.Port())
	}
	return dst
}

// parseRecord reads the body of a presence record.
func parseRecord(b []byte) (p places, err error) {
	if len(b) < 2 || b[0] != recordVersion {
		return places{}, errRecord
	}
	p.addrs, b, err = parseAddrs(b[1:], maxAddrs)
	if err == nil && len(b) > 0 {
		p.relays, _, err = parseAddrs(b, maxRelays)
	}
	if err != nil {
		return places{}, err
	}
	return p, nil
}

// parseAddrs reads a list of addresses and returns what follows it.
func parseAddrs(b []byte, most int) ([]netip.AddrPort, []byte, error) {
	n, b := int(b[0]), b[1:]
	if n > most {
		return nil, nil, errRecord
	}
	addrs := make([]netip.AddrPort, 0, n)
	for range n {
		if len(b) == 0 || b[0] != 4 && b[0] != 16 || len(b) < 1+int(b[0])+2 {
			return nil, nil, errRecord
		}
		end := 1 + int(b[0])
		ip, _ := netip.AddrFromSlice(b[1:end])
		addr := netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[end:]))
		if ip.Is4In6() || addr.Port() == 0 {
			return nil, nil, errRecord // one spelling per address
		}
		addrs = append(addrs, addr)
		b = b[end+2:]
	}
	return addrs, b, nil
}
