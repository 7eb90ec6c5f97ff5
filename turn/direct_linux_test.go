package turn

import (
	"net/netip"
	"testing"

	"traverse.internal/core/stun"
)

// directs counts the connected sockets.
func directs(s *Server) int { return s.Stats().Connected }

// streakTo has datagrams of a channel arrive at a peer, as many as give it a socket of its own.
func streakTo(t *testing.T, client *testClient, number uint16, peer *testPeer, n int) {
	t.Helper()
	for i := range n {
		client.send(channelData(number, []byte{byte(i), byte(i >> 8)}))
		if got, _ := peer.receive(); len(got) != 2 || got[0] != byte(i) || got[1] != byte(i>>8) {
			t.Fatalf("datagram %d: got %x", i, got)
		}
	}
}

// A relayed address has a second socket for the peer that most goes to, and nobody can tell: whoever may send to it is
// relayed, whoever may not is not, and refusals are told.
func TestDirect(t *testing.T) {
	for _, ip := range []netip.Addr{loop4, loop6} {
		t.Run(ip.String(), func(t *testing.T) {
			if ip.Is6() {
				needIPv6(t)
			}
			s := startServer(t, func(c *Config) { bothFamilies(c); c.Shards = 1 })
			client := dialTest(t, "udp", udpAt(s, ip))
			family := want4
			if ip.Is6() {
				family = want6
			}
			relayed := client.allocate(wantUDP, family)
			peer, second, other := newPeer(t, ip), newPeer(t, ip), newPeer(t, ip)
			for i, p := range []*testPeer{peer, second} {
				if code := client.code(stun.MethodChannelBind, channel(uint16(0x4000+i)), peerAt(p.addr)); code != 0 {
					t.Fatal(code)
				}
			}
			streakTo(t, client, 0x4000, peer, directAfter-1)
			if got := directs(s); got != 0 {
				t.Fatalf("%d sockets after %d datagrams, want none", got, directAfter-1)
			}
			streakTo(t, client, 0x4000, peer, 3)
			if got := directs(s); got != 1 {
				t.Fatalf("%d sockets, want 1", got)
			}
			answers := func() {
				t.Helper()
				for _, p := range []*testPeer{peer, second, other, peer} { // by channel, and in an indication
					p.send(relayed, []byte("back"))
					if got := payload(t, client.frame()); string(got) != "back" {
						t.Errorf("got %q", got)
					}
				}
			}
			answers()
			streakTo(t, client, 0x4001, second, directAfter)
			streakTo(t, client, 0x4000, peer, 3)
			if d := s.Sessions()[0]; d.PacketsUp != 2*directAfter+5 || d.PacketsDown != 4 {
				t.Errorf("up %d, down %d", d.PacketsUp, d.PacketsDown)
			}

			t.Log("another peer takes over")
			streakTo(t, client, 0x4001, second, directInstead)
			if got := directs(s); got != 1 {
				t.Errorf("%d sockets, want 1", got)
			}
			answers()

			t.Log("the peer that has it goes")
			second.conn.Close()
			client.send(channelData(0x4001, []byte("anybody?")))
			m := client.indication(stun.MethodData)
			if _, _, _, err := m.ICMP(); err != nil {
				t.Errorf("no error told: %v", err)
			}
			if at, _ := m.XORAddr(stun.AttrXORPeerAddress); at != second.addr {
				t.Errorf("an error of %v, want %v", at, second.addr)
			}
			streakTo(t, client, 0x4000, peer, 3)

			t.Log("without a permission nothing comes from anybody")
			before := s.Stats().Drops["no_permission"]
			s.skew.Add(int64(301e9))
			peer.send(relayed, []byte("too late"))
			waitFor(t, "a drop", func() bool { return s.Stats().Drops["no_permission"] == before+1 })

			if code := client.code(stun.MethodRefresh, lifetime(0)); code != 0 {
				t.Fatal(code)
			}
			waitFor(t, "its end", func() bool { return directs(s) == 0 })
		})
	}
}

// There are as many such sockets as may be, and who uses his has it rather than who does not.
func TestDirectsAreFew(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Shards = 1 })
	const most = 2
	s.shards[0].mu.Lock()
	s.shards[0].mostDirects = most
	s.shards[0].mu.Unlock()
	var clients []*testClient
	var peers []*testPeer
	for range 4 {
		client, peer := dialUDP(t, s), newPeer(t, loop4)
		client.allocate()
		if code := client.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); code != 0 {
			t.Fatal(code)
		}
		clients, peers = append(clients, client), append(peers, peer)
	}
	for round := range 3 {
		for i := range clients {
			streakTo(t, clients[i], 0x4000, peers[i], 2*directAfter)
			if got := directs(s); got > most {
				t.Fatalf("round %d: %d sockets, want %d at most", round, got, most)
			}
		}
	}
	if got := directs(s); got != most {
		t.Errorf("%d sockets, want %d", got, most)
	}
}
