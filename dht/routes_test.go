package dht

import (
	"testing"

	"traverse.internal/identity"
)

// TestEachRouteAlone calls by each route with the others switched off, in a private DHT of two, three and ten nodes.
func TestEachRouteAlone(t *testing.T) {
	for _, c := range []struct {
		name   string
		routes RouteSet
		nodes  int
	}{
		{"direct, two nodes", RouteDirect, 2},
		{"direct, ten nodes", RouteDirect, 10},
		{"slot, two nodes", RouteSlot, 2},
		{"slot, ten nodes", RouteSlot, 10},
		{"callto, two nodes", RouteCallto, 2},
		{"callto, ten nodes", RouteCallto, 10},
		{"all, three nodes", 0, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			nodes := mesh(t, c.nodes)
			a, b := newDevice(t, nodes[0], c.routes, nil), newDevice(t, nodes[len(nodes)-1], c.routes, nil)
			if c.routes == RouteCallto { // first contact: the called device does not know the caller
				b.allowed = func(id identity.DeviceID) bool { return id == a.ID() }
				a.add(b.ID())
				a.start(t)
				b.start(t)
			} else {
				befriend(t, a, b)
			}
			t.Logf("first call took %v", mustCall(t, a, b))
			t.Logf("second call took %v", mustCall(t, a, b))
			if got := len(b.callers()); got != 2 {
				t.Errorf("%d requests handled, want 2", got)
			}
		})
	}
}
