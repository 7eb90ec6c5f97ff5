package portmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Protocol is of the port: IANA's number.
type Protocol uint8

// Protocols.
const (
	TCP Protocol = 6
	UDP Protocol = 17
)

// String returns "TCP" or "UDP", as UPnP has them.
func (p Protocol) String() string {
	if p == UDP {
		return "UDP"
	}
	return "TCP"
}

// serverPort is where routers listen for PCP and NAT-PMP.
const serverPort = 5351

// maxMessage is the longest answer that is read: RFC 6887 §7.
const maxMessage = 1100

var (
	errAnswer  = errors.New("the router's answer makes no sense")
	errVersion = errors.New("the router speaks another version")
)

// resultError is what the router said instead of yes.
type resultError struct {
	how  string
	code int
}

func (e resultError) Error() string {
	return fmt.Sprintf("the router refused by %s, result %d", e.how, e.code)
}

// answer is what a router lent.
type answer struct {
	outside  netip.AddrPort
	lifetime time.Duration
	epoch    epoch // the router's; none by UPnP
}

// PCP, RFC 6887. A request and its answer have the same form:
//
//	version 2 | opcode, answers +0x80 | reserved 1, result 1 | lifetime 4, seconds
//	request: our address 16; answer: epoch 4, reserved 12
//	MAP, §11: nonce 12 | protocol 1 | reserved 3 | our port 2 | outside port 2 | outside address 16
const (
	pcpVersion = 2
	pcpMap     = 1
	pcpLen     = 60
)

type nonce [12]byte

func appendPCP(dst []byte, n nonce, p Protocol, ours netip.AddrPort, outside netip.AddrPort, lifetime time.Duration) []byte {
	dst = append(dst, pcpVersion, pcpMap, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(lifetime/time.Second))
	from := ours.Addr().As16()
	dst = append(dst, from[:]...)
	dst = append(dst, n[:]...)
	dst = append(dst, byte(p), 0, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, ours.Port())
	dst = binary.BigEndian.AppendUint16(dst, outside.Port())
	want := netip.IPv6Unspecified().As16() // none in particular
	if ours.Addr().Is4() {
		want = netip.MustParseAddr("::ffff:0.0.0.0").As16()
	}
	if outside.Addr().IsValid() {
		want = outside.Addr().As16()
	}
	return append(dst, want[:]...)
}

// parsePCP reads an answer to a request with that nonce.
func parsePCP(b []byte, n nonce, p Protocol, port uint16) (answer, error) {
	if len(b) >= 4 && b[0] == 0 && b[1]&0x80 != 0 {
		return answer{}, errVersion // NAT-PMP's: RFC 6886 §3.5
	}
	if len(b) < 24 || len(b) > maxMessage || len(b)%4 != 0 || b[0] != pcpVersion || b[1] != pcpMap|0x80 {
		return answer{}, errAnswer
	}
	if b[3] == 1 {
		return answer{}, errVersion
	}
	if b[3] != 0 {
		return answer{}, resultError{"PCP", int(b[3])}
	}
	if len(b) < pcpLen || nonce(b[24:36]) != n || Protocol(b[36]) != p || binary.BigEndian.Uint16(b[40:]) != port {
		return answer{}, errAnswer
	}
	addr, _ := netip.AddrFromSlice(b[44:60])
	return checked(answer{
		outside:  netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(b[42:])),
		lifetime: time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Second,
		epoch:    epoch{binary.BigEndian.Uint32(b[8:]), time.Now()},
	})
}

// pcpRefused reads the answer to the end of a mapping: it is refused with a result other than SUCCESS, RFC 6887 §7.2 and §15.1.
func pcpRefused(b []byte) (bool, error) {
	if len(b) < 24 || b[0] != pcpVersion || b[1] != pcpMap|0x80 {
		return false, errAnswer
	}
	return b[3] != 0, nil
}

// NAT-PMP, RFC 6886 §3.2 and §3.3:
//
//	address: version 0, opcode 0                                      answer: 0, 128, result 2, epoch 4, address 4
//	map: 0, 1 UDP or 2 TCP, reserved 2, our port 2, outside 2, lifetime 4
//	                                        answer: 0, 129 or 130, result 2, epoch 4, our port 2, outside 2, lifetime 4
func pmpOpcode(p Protocol) byte {
	if p == UDP {
		return 1
	}
	return 2
}

func appendPMP(dst []byte, p Protocol, port, outside uint16, lifetime time.Duration) []byte {
	dst = append(dst, 0, pmpOpcode(p), 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, port)
	dst = binary.BigEndian.AppendUint16(dst, outside)
	return binary.BigEndian.AppendUint32(dst, uint32(lifetime/time.Second))
}

func pmpResult(b []byte, opcode byte) error {
	switch {
	case len(b) < 4 || len(b) > maxMessage || b[0] != 0 || b[1] != opcode|0x80:
		return errAnswer
	case binary.BigEndian.Uint16(b[2:]) == 1:
		return errVersion
	case binary.BigEndian.Uint16(b[2:]) != 0:
		return resultError{"NAT-PMP", int(binary.BigEndian.Uint16(b[2:]))}
	}
	return nil
}

func parsePMPAddress(b []byte) (netip.Addr, error) {
	if err := pmpResult(b, 0); err != nil {
		return netip.Addr{}, err
	}
	if len(b) < 12 {
		return netip.Addr{}, errAnswer
	}
	return netip.AddrFrom4([4]byte(b[8:12])), nil
}

func parsePMP(b []byte, p Protocol, port uint16, at netip.Addr) (answer, error) {
	if err := pmpResult(b, pmpOpcode(p)); err != nil {
		return answer{}, err
	}
	if len(b) < 16 || binary.BigEndian.Uint16(b[8:]) != port {
		return answer{}, errAnswer
	}
	return checked(answer{
		outside:  netip.AddrPortFrom(at, binary.BigEndian.Uint16(b[10:])),
		lifetime: time.Duration(binary.BigEndian.Uint32(b[12:])) * time.Second,
		epoch:    epoch{binary.BigEndian.Uint32(b[4:]), time.Now()},
	})
}

var (
	carrierSpace = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
	errInside    = errors.New("the router's own outside is not on the Internet: there is another NAT")
)

// checked refuses what leads nobody to us.
func checked(a answer) (answer, error) {
	at := a.outside.Addr()
	switch {
	case a.outside.Port() == 0 || !at.IsGlobalUnicast() || a.lifetime <= 0:
		return answer{}, errAnswer
	case at.IsPrivate() || carrierSpace.Contains(at):
		return answer{}, errInside
	}
	a.lifetime = min(max(a.lifetime, leastLifetime), mostLifetime)
	return a, nil
}
