package loopback

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
)

// Loopback of both families.
var (
	IP4 = netip.MustParseAddr("127.0.0.1")
	IP6 = netip.IPv6Loopback()
)

const (
	// Ports that are given out: above those of services, below those that kernels give to whoever asks for any (Linux: from
	// 32768 on). One of the latter is free when it is looked for and a passing connection's when it is used.
	firstPort = 10_000
	endPort   = 20_000 // core/ice and turn look for theirs above, up to 30,000
	tries     = 1000
)

// HaveIPv6 says whether loopback has it.
func HaveIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// NeedIPv6 skips where loopback has only one family.
func NeedIPv6(t testing.TB) {
	t.Helper()
	if !HaveIPv6() {
		t.Skip("there is no IPv6 on loopback: nothing was tested over it")
	}
}

// FreePort returns a port that nobody uses over UDP or TCP at the addresses, by default those of loopback. No other test, of
// this process or another, is given it before this one has ended.
func FreePort(t testing.TB, ips ...netip.Addr) uint16 {
	t.Helper()
	port, release, err := Reserve(ips...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return port
}

// Reserve is FreePort for who has no testing.TB. The port is the caller's until release.
func Reserve(ips ...netip.Addr) (port uint16, release func(), err error) {
	if len(ips) == 0 {
		ips = []netip.Addr{IP4}
		if HaveIPv6() {
			ips = append(ips, IP6)
		}
	}
	for range tries {
		port = firstPort + uint16(rand.IntN(endPort-firstPort))
		mark, ok := claim(port)
		if !ok {
			continue
		}
		if free(port, ips) {
			return port, mark, nil
		}
		mark()
	}
	return 0, nil, errors.New("loopback: no port is free")
}

func free(port uint16, ips []netip.Addr) bool {
	for _, ip := range ips {
		at := netip.AddrPortFrom(ip, port)
		u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err != nil {
			return false
		}
		_ = u.Close()
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}
