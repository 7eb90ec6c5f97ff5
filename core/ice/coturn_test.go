package ice

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"traverse.internal/internal/loopback"
)

// startCoturn runs Debian's coturn on loopback for the test and returns its address.
func startCoturn(t *testing.T) string {
	t.Helper()
	loopback.NeedIPv6(t)
	server := netip.AddrPortFrom(loopback.IP4, loopback.Coturn{}.Start(t)).String()
	if !lends(t, server) {
		t.Fatal("coturn runs and does not answer")
	}
	return server
}

// lends waits until a relay has made an allocation: coturn listens before it answers, seconds before on a loaded machine.
func lends(t *testing.T, server string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		try, cancel := context.WithTimeout(ctx, time.Second)
		l, err := allocateTURN(try, Relay{Server: server, Username: "u", Password: "p"}, false)
		cancel()
		if err == nil {
			l.Close()
			return true
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return false
		}
	}
}

// TestCoturn runs the relayed paths through a TURN server that is not ours.
func TestCoturn(t *testing.T) { relayedPaths(t, startCoturn(t)) }
