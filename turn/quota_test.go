package turn

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"

	"traverse.internal/core/stun"
)

// refused returns how often a quota refused something.
func refused(s *Server, quota string) uint64 { return s.Stats().Quotas[quota] }

// Every quota of permissions, channels and new peers answers 508, counts under its name, and lets the user go on with
// what there is.
func TestQuotasOfPeers(t *testing.T) {
	for _, quota := range []struct {
		name   string
		change func(*Config)
		add    func(c *testClient, n int) stun.ErrorCode
	}{
		{"user_permissions", func(c *Config) { c.Limits.UserPermissions = 3 }, permitNth},
		{"source_permissions", func(c *Config) { c.Limits.SourcePermissions = 3 }, permitNth},
		{"allocation_permissions", func(c *Config) { c.Limits.Permissions = 3 }, permitNth},
		{"user_new_peers", func(c *Config) { c.Limits.UserPeers = 3 }, permitNth},
		{"source_new_peers", func(c *Config) { c.Limits.SourcePeers = 3 }, permitNth},
		{"user_channels", func(c *Config) { c.Limits.UserChannels = 3 }, bindNth},
		{"source_channels", func(c *Config) { c.Limits.SourceChannels = 3 }, bindNth},
		{"allocation_channels", func(c *Config) { c.Limits.Channels = 3 }, bindNth},
	} {
		t.Run(quota.name, func(t *testing.T) {
			s := startServer(t, quota.change)
			c := dialUDP(t, s)
			c.allocate()
			for n := range 3 {
				if code := quota.add(c, n); code != 0 {
					t.Fatalf("number %d: %v", n+1, code)
				}
			}
			if code := quota.add(c, 3); code != stun.CodeInsufficientCapacity {
				t.Errorf("beyond it: %v, want 508", code)
			}
			if code := quota.add(c, 0); code != 0 {
				t.Errorf("renewing: %v", code)
			}
			if n := refused(s, quota.name); n != 1 {
				t.Errorf("counted %d times: %v", n, s.Stats().Quotas)
			}
			other := dialUDP(t, s)
			other.user, other.pass = "v", "q"
			other.allocate()
			want := stun.ErrorCode(0)
			if quota.name[:3] == "sou" {
				want = stun.CodeInsufficientCapacity // from the same address
			}
			if code := quota.add(other, 4); code != want {
				t.Errorf("another user: %v, want %v", code, want)
			}
		})
	}
}

func permitNth(c *testClient, n int) stun.ErrorCode {
	return c.code(stun.MethodCreatePermission, peerText(fmt.Sprintf("127.0.0.%d:1", n+1)))
}

func bindNth(c *testClient, n int) stun.ErrorCode {
	return c.code(stun.MethodChannelBind, channel(0x4000+uint16(n)), peerText(fmt.Sprintf("127.0.0.%d:1", n+1)))
}

// To end an allocation and make another one does not bring a new minute's peers: a scan stays a slow one.
func TestScanOutlivesAllocations(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Limits.UserPeers = 8 })
	met := 0
	for round := range 10 {
		c := dialUDP(t, s)
		c.allocate()
		for n := range 4 {
			if permitNth(c, round*4+n) == 0 {
				met++
			}
		}
		if code := c.code(stun.MethodRefresh, lifetime(0)); code != 0 {
			t.Fatalf("refresh: %v", code)
		}
	}
	if met < 8 || met > 10 { // a refill brings one in 7.5 s
		t.Errorf("met %d new peers, want 8", met)
	}
}

// A Connect is a new peer, whether the port is open or not.
func TestConnectScan(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Limits.UserPeers = 5 })
	c := dialTCP(t, s)
	c.allocate(wantTCP)
	failed, over := 0, 0
	for port := range 20 {
		switch code := c.code(stun.MethodConnect, peerAt(netip.AddrPortFrom(loop4, uint16(1+port)))); code {
		case stun.CodeConnectionFailed:
			failed++
		case stun.CodeInsufficientCapacity:
			over++
		}
	}
	if failed > 6 || over < 14 {
		t.Errorf("%d dialled, %d refused; want 5 and 15", failed, over)
	}
}

// Beyond the rate of user, source or server datagrams are dropped, both ways, and counted.
func TestRateDropsDatagrams(t *testing.T) {
	const rate = 1 << 16 // the smallest burst
	for _, whose := range []struct {
		name   string
		change func(*Config)
	}{
		{"user", func(c *Config) { c.Limits.UserRate = rate }},
		{"source", func(c *Config) { c.Limits.SourceRate = rate }},
		{"server", func(c *Config) { c.Limits.Rate = rate }},
	} {
		t.Run(whose.name, func(t *testing.T) {
			s := startServer(t, whose.change)
			peer := newPeer(t, loop4)
			c := dialUDP(t, s)
			relayed := c.allocate()
			if code := c.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); code != 0 {
				t.Fatalf("channel: %v", code)
			}
			const size, packets = 1000, 200
			data := make([]byte, size)
			for range packets {
				c.send(channelData(0x4000, data))
				peer.send(relayed, data)
			}
			relayedBytes := func() (total uint64) {
				one := s.Sessions()[0]
				return one.BytesUp + one.BytesDown
			}
			dropped := func() uint64 { return s.Stats().Drops["rate"] }
			waitFor(t, "all packets", func() bool { return relayedBytes()/size+dropped() == 2*packets })
			if dropped() < packets {
				t.Errorf("%d of %d dropped", dropped(), 2*packets)
			}
			if _, err := s.Reload(configOf(s, func(c *Config) { c.Limits.UserRate, c.Limits.SourceRate, c.Limits.Rate = 0, 0, 0 })); err != nil {
				t.Fatal(err)
			}
			before, at := dropped(), relayedBytes()
			for range packets {
				c.send(channelData(0x4000, data))
			}
			waitFor(t, "packets after the limit was lifted", func() bool { return relayedBytes() == at+packets*size })
			if dropped() != before {
				t.Errorf("%d dropped without a limit", dropped()-before)
			}
		})
	}
}

// A TCP allocation's connections wait instead: every byte arrives, no more at once than the burst, and the session's count
// moves while they run.
func TestRateSlowsTCP(t *testing.T) {
	const rate = 1 << 17
	s := startServer(t, func(c *Config) { c.Limits.UserRate = rate })
	peer, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c := dialTCP(t, s)
	c.allocate(wantTCP)
	m := c.ask(stun.MethodConnect, peerAt(addrPortOf(peer.Addr())))
	id, err := m.Uint32(stun.AttrConnectionID)
	if err != nil {
		t.Fatalf("connect: %v", codeOf(t, m))
	}
	far, err := peer.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	data := dialTCP(t, s)
	data.realm, data.nonce = c.realm, c.nonce
	if code := data.code(stun.MethodConnectionBind, connectionID(id)); code != 0 {
		t.Fatalf("bind: %v", code)
	}
	text := bytes.Repeat([]byte("x"), 2*rate)
	sent := make(chan error, 1)
	go func() {
		_, err := data.conn.Write(text)
		sent <- err
	}()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(far, got[:1000]); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "bytes of a connection that runs", func() bool { return s.Sessions()[0].BytesUp >= 1000 })
	if n := s.Sessions()[0].BytesUp; n == uint64(len(text)) {
		t.Errorf("all %d bytes went at once, the burst is %d", n, rate)
	}
	if _, err := io.ReadFull(far, got[1000:]); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil || !bytes.Equal(got, text) {
		t.Errorf("the bytes are not those sent: %v", err)
	}
}
