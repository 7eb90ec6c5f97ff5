package dht

import (
	"math"
	"testing"
	"time"

	"traverse.internal/core/reason"
	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// welcoming makes b answer a though a is no contact of its.
func welcoming(t *testing.T, routesA, routesB RouteSet, change func(*CourierConfig, *signalling.Config)) (a, b *device) {
	t.Helper()
	nodes := mesh(t, 4)
	a, b = newDevice(t, nodes[1], routesA, change), newDevice(t, nodes[2], routesB, change)
	b.allowed = func(id identity.DeviceID) bool { return id == a.ID() }
	a.add(b.ID())
	return a, b
}

func TestFirstContactWithEverythingSwitchedOn(t *testing.T) {
	t.Parallel()
	a, b := welcoming(t, 0, 0, nil)
	a.start(t)
	b.start(t)
	mustCall(t, a, b)
	if got := a.node.Stats().CalltoPuts; got != 1 {
		t.Errorf("%d boxes written, want 1", got)
	}
}

// TestJunkBlocksABoxOnly: whoever knows the id can block a box for the hour with the highest sequence number.
func TestJunkBlocksABoxOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		pinned int
		junk   int64
		ok     bool
	}{
		{"one box blocked", 1, math.MaxInt64, true},
		{"all but one blocked", calltoSlots - 1, math.MaxInt64, true},
		{"all blocked", calltoSlots, math.MaxInt64, false},
		{"all filled with numbers of tomorrow", calltoSlots, time.Now().Add(24 * time.Hour).UnixMilli(), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, b := welcoming(t, RouteCallto, RouteCallto, func(_ *CourierConfig, s *signalling.Config) {
				if !c.ok {
					s.Timeout = time.Second
				}
			})
			attacker := a.node // any node will do
			for i := range c.pinned {
				for _, hour := range []int64{hourOf(time.Now()), hourOf(time.Now()) + 1} { // the test may run across the change
					box := calltoSlot(b.ID(), hour, i)
					if _, err := attacker.Put(t.Context(), box.key, c.junk, []byte("junk")); err != nil {
						t.Fatal(err)
					}
				}
			}
			a.start(t)
			b.start(t)
			eventually(t, "the called device to have seen the junk", func() bool { return b.sig.Stats().Bad > 0 })
			if c.ok {
				mustCall(t, a, b)
				return
			}
			_, err := a.sig.Call(t.Context(), b.ID(), nil)
			if got := reason.Of(err); got != reason.NoRecord {
				t.Errorf("got %v with reason %q, want %q", err, got, reason.NoRecord)
			}
			if a.node.Stats().CalltoPinned == 0 {
				t.Error("blocked boxes are not counted")
			}
		})
	}
}

func TestCalltoIsForFirstContactOnly(t *testing.T) {
	t.Parallel()
	nodes := mesh(t, 3)
	a, b := newDevice(t, nodes[1], RouteSlot|RouteCallto, nil), newDevice(t, nodes[2], RouteSlot|RouteCallto, nil)
	befriend(t, a, b)
	eventually(t, "presence", func() bool {
		_, ok := fetched(t.Context(), a.courier, b.ID())
		return ok
	})
	mustCall(t, a, b)
	if got := a.node.Stats().CalltoPuts; got != 0 {
		t.Errorf("%d boxes of a contact written, want none", got)
	}
}

func TestCalltoCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	a, b := welcoming(t, 0, RouteDirect|RouteSlot, func(_ *CourierConfig, s *signalling.Config) { s.Timeout = 700 * time.Millisecond })
	a.start(t)
	b.start(t)
	if _, err := a.sig.Call(t.Context(), b.ID(), nil); reason.Of(err) != reason.NoRecord {
		t.Errorf("got %v, want %s", err, reason.NoRecord)
	}
	if n := len(b.callers()); n != 0 {
		t.Errorf("handled %d requests, want none", n)
	}
	for _, r := range b.courier.Routes() {
		if r.Name() == "callto" {
			t.Error("the route is still there")
		}
	}
}
