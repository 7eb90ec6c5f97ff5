package turn

import (
	"net/netip"
	"testing"
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/turn/alloc"
)

// allocateBoth makes a dual allocation.
func (c *testClient) allocateBoth(add ...attrs) (v4, v6 netip.AddrPort) {
	c.t.Helper()
	m := c.login().ask(stun.MethodAllocate, append(add, wantUDP, dual)...)
	all, err := m.AppendXORAddrs(nil, stun.AttrXORRelayedAddress)
	if err != nil || len(all) != 2 || !all[0].Addr().Is4() || !all[1].Addr().Is6() || m.Has(stun.AttrAddressErrorCode) {
		c.t.Fatalf("got %v, %v, %v; want an IPv4 and an IPv6 address", codeOf(c.t, m), all, err)
	}
	return all[0], all[1]
}

// TURN.md 52, 62 and 63.
func TestDualAllocation(t *testing.T) {
	needIPv6(t)
	s := startServer(t, nil)
	c := dialUDP(t, s)
	v4, v6 := c.allocateBoth(even)
	if v4.Port()%2 != 0 || v6.Port()%2 != 0 {
		t.Errorf("even port: got %v and %v", v4, v6)
	}
	if got := s.ledgerTotal(); got != 2 {
		t.Errorf("charged %d, want 2: one an address", got)
	}
	c.fixedID = true
	m := c.ask(stun.MethodAllocate, wantUDP, even, dual)
	if again, _ := m.AppendXORAddrs(nil, stun.AttrXORRelayedAddress); len(again) != 2 || again[0] != v4 || again[1] != v6 {
		t.Errorf("sent again: got %v, want %v and %v", again, v4, v6)
	}
	c.fixedID = false
	peers := [2]*testPeer{newPeer(t, loop4), newPeer(t, loop6)}
	if got := c.code(stun.MethodCreatePermission, peerAt(peers[0].addr, peers[1].addr)); got != 0 {
		t.Fatalf("permissions of both families: %v", got)
	}
	for i, relayed := range []netip.AddrPort{v4, v6} {
		number := uint16(0x4000 + i)
		if got := c.code(stun.MethodChannelBind, channel(number), peerAt(peers[i].addr)); got != 0 {
			t.Fatalf("ChannelBind: %v", got)
		}
		c.send(channelData(number, []byte("up")))
		if got, from := peers[i].receive(); string(got) != "up" || from != relayed {
			t.Errorf("got %q from %v, want it from %v", got, from, relayed)
		}
		peers[i].send(relayed, []byte("down"))
		if got, data, err := stun.ParseChannelData(c.frame()); err != nil || got != number || string(data) != "down" {
			t.Errorf("got %q on %#x, %v", data, got, err)
		}
	}
	for _, step := range []struct {
		name string
		add  []attrs
		want stun.ErrorCode
	}{
		{"IPv6 for 900 s", []attrs{want6, lifetime(900)}, 0},
		{"a family that there is not", []attrs{raw(stun.AttrRequestedAddressFamily, 3, 0, 0, 0)}, 443},
		{"the end of IPv4", []attrs{want4, lifetime(0)}, 0},
		{"IPv4 afterwards", []attrs{want4}, 443},
		{"IPv6", []attrs{want6}, 0},
		{"all", nil, 0},
	} {
		if got := c.code(stun.MethodRefresh, step.add...); got != step.want {
			t.Errorf("Refresh, %s: got %v, want %v", step.name, got, step.want)
		}
	}
	if got := s.ledgerTotal(); got != 1 {
		t.Errorf("charged %d, want 1", got)
	}
	c.send(channelData(0x4000, []byte("into nothing")))
	c.send(channelData(0x4001, []byte("still")))
	if got, _ := peers[1].receive(); string(got) != "still" {
		t.Errorf("IPv6: got %q", got)
	}
	if got := c.code(stun.MethodCreatePermission, peerAt(peers[0].addr)); got != stun.CodePeerFamilyMismatch {
		t.Errorf("an IPv4 peer afterwards: got %v, want 443", got)
	}
	s.skew.Store(int64(602 * time.Second))
	waitFor(t, "the end", func() bool { return count(s) == 0 && s.ledgerTotal() == 0 })
}

func (s *Server) ledgerTotal() int {
	s.ledgerMu.Lock()
	defer s.ledgerMu.Unlock()
	return s.ledger.Total()
}

// TURN.md 52: what cannot be had is told, and both is an error.
func TestHalfOfADualAllocation(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		tcp    bool
		code   stun.ErrorCode // of the answer
		family stun.Family    // that is missing
		why    stun.ErrorCode
	}{
		{name: "no IPv6", change: func(c *Config) { c.RelayIP6 = netip.Addr{} }, family: stun.FamilyIPv6, why: 440},
		{name: "no IPv4", change: func(c *Config) { c.RelayIP4 = netip.Addr{} }, family: stun.FamilyIPv4, why: 440},
		{name: "room for one", change: func(c *Config) { c.Limits.PerUser = 1 }, family: stun.FamilyIPv6, why: 508},
		{name: "over the quota", change: func(c *Config) { c.Limits = alloc.Limits{PerUser: 1}; c.Limits.PerSource = 1 }, code: 486},
		{name: "TCP", tcp: true, family: stun.FamilyIPv6, why: 440},
	} {
		t.Run(c.name, func(t *testing.T) {
			needIPv6(t)
			s := startServer(t, c.change)
			if c.code != 0 {
				dialUDP(t, s).allocate()
			}
			client, want := dialUDP(t, s), wantUDP
			if c.tcp {
				client, want = dialTCP(t, s), wantTCP
			}
			m := client.login().ask(stun.MethodAllocate, want, dual)
			if got := codeOf(t, m); got != c.code {
				t.Fatalf("got %v, want %v", got, c.code)
			}
			if c.code != 0 {
				return
			}
			all, _ := m.AppendXORAddrs(nil, stun.AttrXORRelayedAddress)
			family, why, err := m.AddressError()
			if len(all) != 1 || err != nil || family != c.family || why != c.why {
				t.Errorf("got %v, %v %v %v; want %v %v", all, family, why, err, c.family, c.why)
			}
			if got := s.ledgerTotal(); got != 1 {
				t.Errorf("charged %d, want 1", got)
			}
		})
	}
}
