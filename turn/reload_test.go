package turn

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

// configOf is what startServer made the server of, changed.
func configOf(s *Server, change func(*Config)) Config {
	c := s.config
	change(&c)
	return c
}

// bindChannel makes an allocation with a channel to the peer.
func bindChannel(t *testing.T, c *testClient, peer *testPeer) {
	t.Helper()
	c.allocate()
	if code := c.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); code != 0 {
		t.Fatalf("channel: %v", code)
	}
}

// A flow of numbered ChannelData goes on, whole and in order, while the server is reloaded over and over.
func TestReloadDropsNothing(t *testing.T) {
	for _, transport := range []struct {
		name string
		dial func(testing.TB, *Server) *testClient
	}{{"udp", dialUDP}, {"tcp", dialTCP}} {
		t.Run(transport.name, func(t *testing.T) {
			s := startServer(t, nil)
			peer := newPeer(t, loop4)
			c := transport.dial(t, s)
			bindChannel(t, c, peer)
			stop, ended := make(chan struct{}), make(chan int)
			go func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						ended <- n
						return
					default:
					}
					_, err := s.Reload(configOf(s, func(c *Config) {
						c.DenyPeers = prefixes("198.51.100.0/24")[:n%2]
						c.Users = map[string]string{"u": "p", "new": "x"}
						c.Limits.PerUser = 100 + n%2
					}))
					if err != nil {
						t.Errorf("reload: %v", err)
					}
				}
			}()
			const burst, bursts = 16, 250 // 4,000 packets; a burst fits every queue
			for b := range bursts {
				for i := range burst {
					c.send(channelData(0x4000, binary.BigEndian.AppendUint32(nil, uint32(b*burst+i))))
				}
				for i := range burst {
					data, _ := peer.receive()
					if got, want := binary.BigEndian.Uint32(data), uint32(b*burst+i); got != want {
						t.Fatalf("packet %d, want %d", got, want)
					}
				}
			}
			close(stop)
			if n := <-ended; n < 2 {
				t.Errorf("only %d reloads meanwhile", n)
			}
			for reason, n := range s.Stats().Drops {
				if n > 0 {
					t.Errorf("%d drops: %s", n, reason)
				}
			}
			if n := s.Stats().Revoked; n != 0 {
				t.Errorf("%d permissions revoked", n)
			}
		})
	}
}

// A tightened rule stops what flows.
func TestReloadStopsADeniedFlow(t *testing.T) {
	s := startServer(t, nil)
	denied, allowed := newPeer(t, netip.MustParseAddr("127.0.0.2")), newPeer(t, loop4)
	c := dialUDP(t, s)
	bindChannel(t, c, denied)
	if code := c.code(stun.MethodCreatePermission, peerAt(allowed.addr)); code != 0 {
		t.Fatal(code)
	}
	c.send(channelData(0x4000, []byte("before")))
	denied.receive()
	if _, err := s.Reload(configOf(s, func(c *Config) { c.DenyPeers = prefixes("127.0.0.2/32") })); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c.send(channelData(0x4000, []byte("after")))
	c.send(sendIndication([]byte("after"), peerAt(denied.addr)))
	waitFor(t, "two drops", func() bool {
		drops := s.Stats().Drops
		return drops["unbound_channel"] == 1 && drops["no_permission"] == 1
	})
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if code := c.code(stun.MethodChannelBind, channel(0x4001), peerAt(denied.addr)); code != stun.CodeForbidden {
		t.Errorf("a new channel: got %v, want 403", code)
	}
	c.send(sendIndication([]byte("still"), peerAt(allowed.addr)))
	if data, _ := allowed.receive(); string(data) != "still" {
		t.Errorf("the other peer got %q", data)
	}
	if n := s.Stats().Revoked; n != 2 { // permission and channel
		t.Errorf("%d revoked, want 2", n)
	}
}

// A tightened rule closes the connections of TCP allocations.
func TestReloadClosesDeniedConnections(t *testing.T) {
	s := startServer(t, nil)
	far := dialTCP(t, s)
	relayed := far.allocate(wantTCP)
	if code := far.code(stun.MethodCreatePermission, peerAt(relayed)); code != 0 {
		t.Fatal(code)
	}
	near := dialTCP(t, s)
	near.allocate(wantTCP)
	if code := near.code(stun.MethodConnect, peerAt(relayed)); code != 0 {
		t.Fatalf("connect: %v", code)
	}
	if _, err := s.Reload(configOf(s, func(c *Config) { c.AllowPeers = nil })); err != nil {
		t.Fatal(err)
	}
	for _, session := range s.Sessions() {
		if len(session.Connections)+len(session.Permissions) > 0 {
			t.Errorf("left: %+v", session)
		}
	}
}

func TestReloadAppliesUsersAndLimits(t *testing.T) {
	s := startServer(t, nil)
	c := dialUDP(t, s)
	c.allocate()
	if _, err := s.Reload(configOf(s, func(c *Config) {
		c.Users = map[string]string{"u": "other", "w": "x"}
		c.Limits.PerUser = 1
	})); err != nil {
		t.Fatal(err)
	}
	if code := c.code(stun.MethodRefresh); code != stun.CodeUnauthenticated {
		t.Errorf("the old password: got %v, want 401", code)
	}
	c.pass = "other"
	if code := c.code(stun.MethodRefresh); code != 0 {
		t.Errorf("the new password: got %v, want success", code)
	}
	second := dialUDP(t, s)
	second.pass = "other"
	if code := second.login().code(stun.MethodAllocate, wantUDP); code != stun.CodeAllocationQuotaReached {
		t.Errorf("beyond the new limit: got %v, want 486", code)
	}
}

func TestReloadNamesWhatNeedsARestart(t *testing.T) {
	s := startServer(t, nil)
	restart, err := s.Reload(configOf(s, func(c *Config) {
		c.Realm, c.RelayIP6 = "other", netip.Addr{}
		c.ListenTCP = nil
		c.Users = nil
	}))
	slices.Sort(restart)
	if err != nil || !slices.Equal(restart, []string{"ListenTCP", "Realm", "RelayIP6"}) {
		t.Errorf("got %v, %v", restart, err)
	}
	if _, err := s.Reload(configOf(s, func(c *Config) { c.PortMin = 1 })); err == nil {
		t.Error("a wrong configuration is accepted")
	}
}
