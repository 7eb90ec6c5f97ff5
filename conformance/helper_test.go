package conformance_test

import (
	"net"
	"net/netip"
	"testing"
)

func haveIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// freePort finds a port that is free over UDP and TCP.
func freePort(t *testing.T, ip netip.Addr) netip.AddrPort {
	t.Helper()
	for range 50 {
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
		if err != nil {
			t.Fatal(err)
		}
		at := netip.AddrPortFrom(ip, uint16(l.Addr().(*net.TCPAddr).Port))
		u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		l.Close()
		if err == nil {
			u.Close()
			return at
		}
	}
	t.Fatal("no free port")
	return netip.AddrPort{}
}
