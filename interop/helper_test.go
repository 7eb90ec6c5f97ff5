package interop

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"traverse.internal/internal/loopback"
	"traverse.internal/turn"
)

const patience = 30 * time.Second // of a test, for what must come

// serve runs a server on loopback, over every transport at one port each of both families: user u with password p.
func serve(t *testing.T) *turn.Server {
	t.Helper()
	loopback.NeedIPv6(t)
	plain, secured := loopback.FreePort(t), loopback.FreePort(t)
	both := func(port uint16) []netip.AddrPort {
		return []netip.AddrPort{netip.AddrPortFrom(loopback.IP4, port), netip.AddrPortFrom(loopback.IP6, port)}
	}
	c := turn.Config{
		ListenUDP: both(plain), ListenTCP: both(plain), ListenTLS: both(secured), ListenDTLS: both(secured),
		Realm: "test", Users: map[string]string{"u": "p"}, RelayIP4: loopback.IP4, RelayIP6: loopback.IP6, Mobility: true,
		AllowPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	}
	c.CertFile, c.KeyFile, _ = loopback.Certificate(t)
	s, err := turn.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}
