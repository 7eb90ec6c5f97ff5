package turnclient_test

import (
	"net/netip"
	"testing"

	"traverse.internal/internal/loopback"
)

func TestCoturn(t *testing.T) {
	loopback.NeedIPv6(t)
	port := loopback.Coturn{Args: []string{"--no-udp"}}.Start(t)
	relayBothWays(t, netip.AddrPortFrom(loopback.IP4, port), netip.AddrPortFrom(loopback.IP6, port))
}
