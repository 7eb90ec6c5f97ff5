package turn

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"traverse.internal/turn/alloc"
)

func tupleFor(client string) alloc.FiveTuple {
	return alloc.FiveTuple{Client: netip.MustParseAddrPort(client), Server: netip.MustParseAddrPort("192.0.2.99:3478")}
}

// count returns how many allocations the server has.
func count(s *Server) (n int) {
	for _, c := range s.Stats().Allocations {
		n += c.Count
	}
	return n
}

// waitFor waits until a condition holds that other goroutines bring about.
func waitFor(t testing.TB, what string, holds func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		<-ticker.C
	}
}

// freeRange finds n ports in a row, the first even, that nobody uses for UDP on loopback.
func freeRange(t testing.TB, n uint16) (low, high uint16) {
	t.Helper()
next:
	for low = 20000; low < 30000; low += n + n%2 {
		for port := low; port < low+n; port++ {
			conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
			if err != nil {
				continue next
			}
			conn.Close()
		}
		return low, low + n - 1
	}
	t.Fatal("no free ports")
	return 0, 0
}

// newPeerAt returns a peer at an address, or nil when somebody has that.
func newPeerAt(t testing.TB, at netip.AddrPort) *testPeer {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil
	}
	t.Cleanup(func() { conn.Close() })
	return &testPeer{t, conn, at}
}
