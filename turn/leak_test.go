package turn

import (
	"fmt"
	"net/netip"
	"testing"

	"traverse.internal/core/stun"
	"traverse.internal/turn/alloc"
)

// TURN.md 59: an Allocate that fails after a socket was bound leaves none open, nothing charged and no port taken.
func TestFailedAllocateLeavesNothing(t *testing.T) {
	low, high := freeRange(t, 2)
	for _, c := range []struct {
		name   string
		change func(*Config)
		block  func() *testPeer // takes what the request needs besides
		add    []attrs
		want   stun.ErrorCode
	}{
		{
			name:  "the partner of an even port is taken",
			block: func() *testPeer { return newPeerAt(t, netip.AddrPortFrom(loop4, high)) },
			add:   []attrs{wantUDP, pair}, want: 508,
		},
		{
			name:   "the only port is taken",
			change: func(c *Config) { c.PortMax = low },
			block:  func() *testPeer { return newPeerAt(t, netip.AddrPortFrom(loop4, low)) },
			add:    []attrs{wantUDP}, want: 508,
		},
		{
			name: "a token of nobody", add: []attrs{wantUDP, token(make([]byte, 8))}, want: 508,
		},
		{
			name: "beyond the quota", change: func(c *Config) { c.Limits = alloc.Limits{PerUser: 1} },
			add: []attrs{wantUDP, pair}, want: 486,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t, func(config *Config) {
				config.PortMin, config.PortMax, config.RelayIP6 = low, high, netip.Addr{}
				if c.change != nil {
					c.change(config)
				}
			})
			var blocker *testPeer
			if c.block != nil {
				if blocker = c.block(); blocker == nil {
					t.Skip("somebody else took the port")
				}
			}
			client := dialUDP(t, s).login()
			for range 3 {
				if got := client.code(stun.MethodAllocate, c.add...); got != c.want {
					t.Fatalf("got %v, want %v", got, c.want)
				}
			}
			if blocker != nil {
				blocker.conn.Close()
			}
			s.ledgerMu.Lock()
			total, used := s.ledger.Total(), s.ports[ip4][0].free.Used()
			s.ledgerMu.Unlock()
			if total != 0 || used != 0 || count(s) != 0 {
				t.Errorf("charged %d, ports taken %d, counted %d; want none", total, used, count(s))
			}
			for port := low; port <= s.config.PortMax; port++ { // whoever still had it open would be in the way
				if p := newPeerAt(t, netip.AddrPortFrom(loop4, port)); p == nil {
					t.Error(fmt.Sprint("port ", port, " is still open"))
				} else {
					p.conn.Close()
				}
			}
		})
	}
}
