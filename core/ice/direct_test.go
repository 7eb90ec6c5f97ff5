package ice

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"traverse.internal/core/reason"
)

func TestDirect(t *testing.T) {
	for _, c := range []struct {
		name   string
		addr   netip.Addr
		rounds int
	}{
		{"IPv4", lo4, 100},
		{"IPv6", lo6, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.addr.Is6() {
				needIPv6(t)
			}
			noGoroutines(t)
			cfg := Config{Addrs: []netip.Addr{c.addr}}
			caller, callee := listenTest(t, cfg), listenTest(t, cfg)
			times := make([]time.Duration, c.rounds)
			for i := range times {
				began := time.Now()
				b := mustConnect(t, caller, callee)
				times[i] = time.Since(began)
				for _, p := range []*Path{b.offerer, b.answerer} {
					if p.Route.Kind != Direct || p.Route.Reason != reason.DirectLAN {
						t.Fatalf("round %d: route %+v, want direct and DIRECT_LAN", i, p.Route)
					}
					if p.Route.Local.Addr() != c.addr || p.Route.Remote.Addr() != c.addr {
						t.Fatalf("round %d: route %+v, want %v at both ends", i, p.Route, c.addr)
					}
				}
				talk(t, b, 1000)
				b.close()
			}
			slices.Sort(times)
			t.Logf("median %v, max %v, stats %+v", times[len(times)/2], times[len(times)-1], caller.Stats())
		})
	}
}
