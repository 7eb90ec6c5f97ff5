package dht

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/signalling"
)

// TestIdleHour measures what an idle device costs, which docs/protocol/signalling.md 6 states: an hour with one contact that has nothing to say, in a
// DHT of 24 nodes, which looks into its own slot for a copy of itself as every daemon does. Bytes are those of datagrams, without IP and UDP headers.
func TestIdleHour(t *testing.T) {
	looking := func(c *CourierConfig, s *signalling.Config) {
		modeTimes(c, s)
		c.Twin = func([]netip.AddrPort) { t.Error("a device was told that there is another one of itself") }
	}
	for _, c := range []struct {
		mode              Mode
		minutes           int // of the hour that are simulated
		gets, puts, bytes uint64
	}{
		// Slots: 3,600 s / 30 s, some twice near the hour's change, and four looks into the own one for each time that it is written. Bytes: 8 queries each, of 100 bytes out and 400 in.
		{Mainline, 24, 180, 8, 2 << 20},
		{Private, 4, 2600, 150, 32 << 20},
	} {
		t.Run(c.mode.String(), func(t *testing.T) {
			if raced {
				t.Skip("the race detector finds nothing here that the other tests have not, and makes it slow")
			}
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, c.mode, 4)
				for range 24 {
					s.start(t, nil)
					time.Sleep(100 * time.Millisecond)
				}
				s.settled(t)
				a, b := newDevice(t, s.nodes[boots], RouteDirect|RouteSlot, looking), newDevice(t, s.nodes[boots+1], RouteDirect|RouteSlot, looking)
				befriend(t, a, b)
				time.Sleep(8 * time.Minute) // beyond the hour's change
				host := s.socketOf(a.node)
				before := a.node.Stats()
				outP, outB, inP, inB := host.outPackets.Load(), host.outBytes.Load(), host.inPackets.Load(), host.inBytes.Load()
				time.Sleep(time.Duration(c.minutes) * time.Minute)
				after := a.node.Stats()
				hour := func(n int64) uint64 { return uint64(n) * 60 / uint64(c.minutes) }
				gets, puts := hour(int64(after.Gets-before.Gets)), hour(int64(after.Puts-before.Puts))
				out, in := hour(host.outBytes.Load()-outB), hour(host.inBytes.Load()-inB)
				t.Logf("%v, an hour: %d gets, %d puts, %d queries; %d packets and %d bytes out, %d and %d in", c.mode, gets, puts, hour(int64(after.QueriesOut-before.QueriesOut)),
					hour(host.outPackets.Load()-outP), out, hour(host.inPackets.Load()-inP), in)
				if gets > c.gets || puts > c.puts || out+in > c.bytes {
					t.Errorf("want at most %d gets, %d puts, %d bytes", c.gets, c.puts, c.bytes)
				}
			})
		})
	}
}
