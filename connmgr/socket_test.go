package connmgr

import (
	"net"
	"net/netip"
	"testing"

	"traverse.internal/core/ice"
)

// forBoth runs a scenario over the memory network and over real sockets: core/ice on loopback. Messages travel in memory in both.
func forBoth(t *testing.T, scenario func(*testing.T, func(*testing.T) *world)) {
	t.Run("memory", func(t *testing.T) { scenario(t, newWorld) })
	t.Run("sockets", func(t *testing.T) { scenario(t, newSocketWorld) })
}

// overBoth is forBoth for a scenario that needs one world.
func overBoth(t *testing.T, scenario func(*testing.T, *world)) {
	forBoth(t, func(t *testing.T, fresh func(*testing.T) *world) { scenario(t, fresh(t)) })
}

func newSocketWorld(t *testing.T) *world {
	w := newWorld(t)
	w.paths = func(t *testing.T, _ *memNode) Pathfinder {
		t.Helper()
		addrs := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
			l.Close()
			addrs = append(addrs, netip.MustParseAddr("::1"))
		}
		e, err := ice.Listen(ice.Config{Loopback: true, Addrs: addrs})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		return ICE{Endpoint: e}
	}
	return w
}
