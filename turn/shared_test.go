package turn

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"traverse.internal/core/stun"
)

// startShared serves with n ports that allocations share, on one shard.
func startShared(t testing.TB, n uint16, change func(*Config)) *Server {
	t.Helper()
	return startServer(t, func(c *Config) {
		c.RelayMode, c.Shards = RelayShared, 1
		c.PortMin, c.PortMax = freeRange(t, n)
		c.RelayIP6 = netip.Addr{}
		if change != nil {
			change(c)
		}
	})
}

// Many allocations have one relayed address, and each gets what its own peers send, over channels, indications and TCP.
func TestSharedRelay(t *testing.T) {
	s := startShared(t, 1, nil)
	type one struct {
		client *testClient
		peer   *testPeer
	}
	var all []one
	var relayed netip.AddrPort
	for i := range 12 {
		dial := dialUDP
		if i%3 == 2 {
			dial = dialTCP
		}
		o := one{dial(t, s), newPeer(t, loop4)}
		at := o.client.allocate()
		if i > 0 && at != relayed {
			t.Fatalf("relayed at %v and %v", at, relayed)
		}
		relayed = at
		if i%2 == 0 {
			if got := o.client.code(stun.MethodChannelBind, channel(0x4000), peerAt(o.peer.addr)); got != 0 {
				t.Fatal(got)
			}
		} else if got := o.client.code(stun.MethodCreatePermission, peerAt(o.peer.addr)); got != 0 {
			t.Fatal(got)
		}
		all = append(all, o)
	}
	for round := range 3 {
		for i, o := range all {
			up := fmt.Appendf(nil, "up %d of %d", round, i)
			if i%2 == 0 {
				o.client.send(channelData(0x4000, up))
			} else {
				o.client.send(sendIndication(up, peerAt(o.peer.addr)))
			}
			if got, from := o.peer.receive(); string(got) != string(up) || from != relayed {
				t.Errorf("got %q from %v, want %q from %v", got, from, up, relayed)
			}
		}
		for i, o := range all {
			o.peer.send(relayed, fmt.Appendf(nil, "down %d of %d", round, i))
		}
		for i, o := range all {
			if got, want := string(payload(t, o.client.frame())), fmt.Sprintf("down %d of %d", round, i); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
	ids := map[string]bool{}
	for _, session := range s.Sessions() {
		ids[session.ID] = true
		if session.PacketsUp != 3 || session.PacketsDown != 3 {
			t.Errorf("%s: %d up, %d down, want 3 and 3", session.ID, session.PacketsUp, session.PacketsDown)
		}
	}
	if len(ids) != len(all) {
		t.Fatalf("%d ids: %v", len(ids), ids)
	}
	// One ends, the others go on, and its peer is free for others.
	local := all[0].client.conn.LocalAddr()
	if id := fmt.Sprintf("udp/%v/udp/%v", relayed, local); !ids[id] || !s.Kill(id) {
		t.Fatalf("no session %s in %v", id, ids)
	}
	if got := all[1].client.code(stun.MethodChannelBind, channel(0x4001), peerAt(all[0].peer.addr)); got != 0 {
		t.Errorf("the peer of who has ended: %v", got)
	}
	all[0].peer.send(relayed, []byte("yours now"))
	if got := string(payload(t, all[1].client.frame())); got != "yours now" {
		t.Errorf("got %q", got)
	}
}

// What sharing cannot do is refused in words, or counted.
func TestSharedRelayRefuses(t *testing.T) {
	s := startShared(t, 1, nil)
	a, b := dialUDP(t, s), dialUDP(t, s)
	relayed := a.allocate()
	b.allocate()
	peer, other := newPeer(t, loop4), newPeer(t, loop4)
	if got := a.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); got != 0 {
		t.Fatal(got)
	}
	for _, c := range []struct {
		name   string
		method stun.Method
		add    []attrs
	}{
		{"channel", stun.MethodChannelBind, []attrs{channel(0x4000), peerAt(peer.addr)}},
		{"permission", stun.MethodCreatePermission, []attrs{peerAt(other.addr, peer.addr)}},
	} {
		m := b.ask(c.method, c.add...)
		code, phrase, err := m.ErrorCode()
		if code != stun.CodeInsufficientCapacity || string(phrase) != taken || err != nil {
			t.Errorf("%s: got %v %q %v, want 508 %q", c.name, code, phrase, err, taken)
		}
	}
	b.send(sendIndication([]byte("no"), peerAt(other.addr)))
	waitFor(t, "nothing of the refused request to be permitted", func() bool { return s.Stats().Drops["no_permission"] == 1 })
	if got := b.code(stun.MethodCreatePermission, peerAt(netip.AddrPortFrom(loop4, 0))); got != 0 {
		t.Fatal(got)
	}
	b.send(sendIndication([]byte("no"), peerAt(peer.addr)))
	waitFor(t, "a's peer to be refused to b", func() bool { return s.Stats().Drops["peer_taken"] == 1 })
	stranger := newPeer(t, loop4)
	stranger.send(relayed, []byte("for whom?"))
	waitFor(t, "what is for both to be dropped", func() bool { return s.Stats().Drops["ambiguous_peer"] == 1 })
	b.send(sendIndication([]byte("yes"), peerAt(other.addr)))
	if got, _ := other.receive(); string(got) != "yes" {
		t.Errorf("got %q", got)
	}
	other.send(relayed, []byte("for b"))
	if got := string(payload(t, b.frame())); got != "for b" {
		t.Errorf("got %q", got)
	}
	if got := s.Stats().Quotas["shared_peer"]; got != 2 {
		t.Errorf("%d refused, want 2", got)
	}
}

// EVEN-PORT is for who needs the next port, too, which is somebody else's; DONT-FRAGMENT would be everybody's.
func TestSharedRelayAnswersProperly(t *testing.T) {
	s := startShared(t, 2, nil)
	for _, c := range []struct {
		name string
		add  []attrs
		want stun.ErrorCode
	}{
		{"even", []attrs{wantUDP, even}, 0},
		{"even, again", []attrs{wantUDP, even}, 0},
		{"even with a reservation", []attrs{wantUDP, pair}, 508},
		{"a token", []attrs{wantUDP, token(make([]byte, 8))}, 508},
		{"DONT-FRAGMENT", []attrs{wantUDP, noFrag}, 420},
		{"of another family", []attrs{wantUDP, want6}, 440},
		{"dual, and one family missing", []attrs{wantUDP, dual}, 0},
	} {
		client := dialUDP(t, s).login()
		m := client.ask(stun.MethodAllocate, c.add...)
		if got := codeOf(t, m); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
			continue
		}
		if at, err := m.XORAddr(stun.AttrXORRelayedAddress); strings.HasPrefix(c.name, "even") && c.want == 0 && (err != nil || at.Port()%2 != 0) {
			t.Errorf("%s: at %v, %v", c.name, at, err)
		}
		if m.Has(stun.AttrReservationToken) {
			t.Errorf("%s: a token", c.name)
		}
	}
	odd := startServer(t, func(c *Config) {
		c.RelayMode, c.RelayIP6 = RelayShared, netip.Addr{}
		low, _ := freeRange(t, 2)
		c.PortMin, c.PortMax = low+1, low+1
	})
	if got := len(odd.shards); got != 1 {
		t.Errorf("%d shards with one port", got)
	}
	if got := dialUDP(t, odd).login().code(stun.MethodAllocate, wantUDP, even); got != 508 {
		t.Errorf("even, where the only port is odd: %v", got)
	}
}

// Dual allocations share a relayed address of each family, and a TCP allocation has its own port all the same.
func TestSharedDualAndTCP(t *testing.T) {
	needIPv6(t)
	s := startShared(t, 2, func(c *Config) { c.RelayIP6 = loop6 })
	for range 3 {
		client := dialUDP(t, s)
		at := client.allocate(wantUDP, dual)
		peer4, peer6 := newPeer(t, loop4), newPeer(t, loop6)
		for i, p := range []*testPeer{peer4, peer6} {
			if got := client.code(stun.MethodChannelBind, channel(uint16(0x4000+i)), peerAt(p.addr)); got != 0 {
				t.Fatal(got)
			}
			client.send(channelData(uint16(0x4000+i), []byte("x")))
			_, from := p.receive()
			if i == 0 && from != at {
				t.Errorf("from %v, want %v", from, at)
			}
			p.send(from, []byte("back"))
			if got := string(payload(t, client.frame())); got != "back" {
				t.Errorf("got %q", got)
			}
		}
		if got := client.code(stun.MethodRefresh, want6, lifetime(0)); got != 0 { // one half
			t.Error(got)
		}
		client.send(channelData(0x4000, []byte("still")))
		if got, _ := peer4.receive(); string(got) != "still" {
			t.Errorf("got %q", got)
		}
		if got := client.code(stun.MethodRefresh, lifetime(0)); got != 0 {
			t.Error(got)
		}
	}
	tcp := dialTCP(t, s)
	tcp.allocate(wantTCP)
	s.shards[0].mu.Lock()
	defer s.shards[0].mu.Unlock()
	for _, family := range s.shards[0].shared {
		for _, one := range family {
			if one.load != 0 {
				t.Errorf("%v: %d allocations are left", one.at, one.load)
			}
		}
	}
}

// Each ICMP error is told to the client whose datagram it was about, and any number of them breaks nothing.
func TestSharedRelayErrors(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells of them")
	}
	s := startShared(t, 1, nil)
	a, b := dialUDP(t, s), dialUDP(t, s)
	a.allocate()
	b.allocate()
	for _, c := range []*testClient{a, b} {
		gone := newPeer(t, loop4)
		gone.conn.Close()
		if got := c.code(stun.MethodCreatePermission, peerAt(gone.addr)); got != 0 {
			t.Fatal(got)
		}
		c.send(sendIndication([]byte("anybody?"), peerAt(gone.addr)))
		m := c.indication(stun.MethodData)
		if at, err := m.XORAddr(stun.AttrXORPeerAddress); at != gone.addr || err != nil || !m.Has(stun.AttrICMP) {
			t.Errorf("told of %v, %v, want %v", at, err, gone.addr)
		}
	}
	// More than a socket may fail in a row, and it goes on: they say nothing about it.
	gone := newPeer(t, loop4)
	gone.conn.Close()
	if got := a.code(stun.MethodCreatePermission, peerAt(gone.addr)); got != 0 {
		t.Fatal(got)
	}
	for range 1100 {
		a.send(sendIndication([]byte("anybody?"), peerAt(gone.addr)))
		a.indication(stun.MethodData)
	}
	peer := newPeer(t, loop4)
	if got := b.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); got != 0 {
		t.Fatal(got)
	}
	b.send(channelData(0x4000, []byte("still here")))
	if got, _ := peer.receive(); string(got) != "still here" {
		t.Errorf("got %q", got)
	}
}
