package turn

import (
	"net/netip"
	"testing"
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/turn/alloc"
)

// TURN.md 66 to 69 and 83 to 86.
func TestPermissionAndChannelRequests(t *testing.T) {
	s := startServer(t, nil)
	malformed := raw(stun.AttrXORPeerAddress, 0, 1, 2)
	for _, c := range []struct {
		name   string
		method stun.Method
		add    []attrs
		want   stun.ErrorCode
	}{
		{"no peer", stun.MethodCreatePermission, nil, 400},
		{"malformed peer", stun.MethodCreatePermission, []attrs{malformed}, 400},
		{"a malformed peer among others", stun.MethodCreatePermission, []attrs{peerText("127.0.0.1:1"), malformed}, 400},
		{"peer of family 3", stun.MethodCreatePermission, []attrs{raw(stun.AttrXORPeerAddress, 0, 3, 0, 0, 0, 0, 0, 0)}, 400},
		{"another family", stun.MethodCreatePermission, []attrs{peerText("[::1]:1")}, 443},
		{"another family among others", stun.MethodCreatePermission, []attrs{peerText("127.0.0.1:1"), peerText("[::1]:1")}, 443},
		{"denied", stun.MethodCreatePermission, []attrs{peerText("10.0.0.1:1")}, 403},
		{"denied among others", stun.MethodCreatePermission, []attrs{peerText("127.0.0.1:1"), peerText("10.0.0.1:1")}, 403},
		{"port 0", stun.MethodCreatePermission, []attrs{peerText("127.0.0.1:0")}, 0},
		{"several", stun.MethodCreatePermission, []attrs{peerText("127.0.0.1:1"), peerText("127.0.0.2:1")}, 0},

		{"channel without number", stun.MethodChannelBind, []attrs{peerText("127.0.0.1:1")}, 400},
		{"channel without peer", stun.MethodChannelBind, []attrs{channel(0x4000)}, 400},
		{"channel with a malformed peer", stun.MethodChannelBind, []attrs{channel(0x4000), malformed}, 400},
		{"channel 0x3fff", stun.MethodChannelBind, []attrs{channel(0x3fff), peerText("127.0.0.1:1")}, 400},
		{"channel 0x8000", stun.MethodChannelBind, []attrs{channel(0x8000), peerText("127.0.0.1:1")}, 400},
		{"channel of RFC 5766", stun.MethodChannelBind, []attrs{channel(0x5000), peerText("127.0.0.1:1")}, 0},
		{"channel 0xffff", stun.MethodChannelBind, []attrs{channel(0xffff), peerText("127.0.0.1:1")}, 400},
		{"channel to another family", stun.MethodChannelBind, []attrs{channel(0x4000), peerText("[::1]:1")}, 443},
		{"channel to a denied peer", stun.MethodChannelBind, []attrs{channel(0x4000), peerText("10.0.0.1:1")}, 403},
		{"channel to port 0", stun.MethodChannelBind, []attrs{channel(0x4000), peerText("127.0.0.1:0")}, 403},
		{"channel", stun.MethodChannelBind, []attrs{channel(0x4fff), peerText("127.0.0.1:1")}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := dialUDP(t, s)
			client.allocate()
			if got := client.code(c.method, c.add...); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestChannelConflictsChangeNothing(t *testing.T) {
	s := startServer(t, nil)
	c, peer := dialUDP(t, s), newPeer(t, loop4)
	c.allocate()
	for _, step := range []struct {
		name   string
		number uint16
		peer   netip.AddrPort
		want   stun.ErrorCode
	}{
		{"new", 0x4000, peer.addr, 0},
		{"again", 0x4000, peer.addr, 0},
		{"same number, other peer", 0x4000, netip.MustParseAddrPort("127.0.0.1:9"), 400},
		{"same peer, other number", 0x4001, peer.addr, 400},
	} {
		if got := c.code(stun.MethodChannelBind, channel(step.number), peerAt(step.peer)); got != step.want {
			t.Errorf("%s: got %v, want %v", step.name, got, step.want)
		}
	}
	c.send(channelData(0x4001, []byte("lost")))
	c.send(channelData(0x4000, []byte("kept")))
	if got, _ := peer.receive(); string(got) != "kept" {
		t.Errorf("peer received %q", got)
	}
}

// TURN.md 65, 70 to 72, 74 and 89: what a permission lets through, and how long.
func TestPermissionLife(t *testing.T) {
	s := startServer(t, nil)
	c, other := dialUDP(t, s), dialUDP(t, s)
	relayed, otherRelayed := c.allocate(wantUDP, lifetime(3600)), other.allocate(wantUDP, lifetime(3600))
	peer, stranger := newPeer(t, loop4), newPeer(t, netip.MustParseAddr("127.0.0.2"))

	stranger.send(relayed, []byte("who"))
	peer.send(relayed, []byte("early"))
	waitFor(t, "both to be dropped", func() bool { return s.Stats().Drops["no_permission"] == 2 })
	// The port does not matter.
	if got := c.code(stun.MethodCreatePermission, peerAt(netip.AddrPortFrom(loop4, 9))); got != 0 {
		t.Fatal(got)
	}
	peer.send(relayed, []byte("now"))
	peer.send(otherRelayed, []byte("not permitted there"))
	m := c.indication(stun.MethodData)
	from, _ := m.XORAddr(stun.AttrXORPeerAddress)
	if data, _ := m.Attr(stun.AttrData); string(data) != "now" || from != peer.addr {
		t.Errorf("got %q from %v, want \"now\" from %v", data, from, peer.addr)
	}
	other.silent()

	// Data does not renew it; 300 s are exact.
	s.skew.Store(int64(290 * time.Second))
	c.send(sendIndication([]byte("up"), peerAt(peer.addr)))
	if got, from := peer.receive(); string(got) != "up" || from != relayed {
		t.Errorf("peer received %q from %v, want from %v", got, from, relayed)
	}
	s.skew.Store(int64(301 * time.Second))
	peer.send(relayed, []byte("late"))
	c.send(sendIndication([]byte("late"), peerAt(peer.addr)))
	c.silent()
	if got := c.code(stun.MethodCreatePermission, peerAt(peer.addr)); got != 0 {
		t.Fatal(got)
	}
	c.send(sendIndication([]byte("again"), peerAt(peer.addr)))
	if got, _ := peer.receive(); string(got) != "again" {
		t.Errorf("peer received %q", got)
	}
}

func TestPermissionAndChannelLimits(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Limits = alloc.Limits{Permissions: 2, Channels: 2} })
	c := dialUDP(t, s)
	c.allocate()
	if got := c.code(stun.MethodCreatePermission, peerText("127.0.0.1:0"), peerText("127.0.0.2:0"), peerText("127.0.0.3:0")); got != 508 {
		t.Errorf("three at once: got %v, want 508", got)
	}
	for i, want := range []stun.ErrorCode{0, 0, 508} {
		peer := netip.AddrPortFrom(loop4, uint16(100+i))
		if got := c.code(stun.MethodChannelBind, channel(uint16(0x4000+i)), peerAt(peer)); got != want {
			t.Errorf("channel %d: got %v, want %v", i, got, want)
		}
	}
}

// TURN.md E.2 and E.3: every address that leads home, in every disguise, by every way.
func TestPeersThatAreDenied(t *testing.T) {
	needIPv6(t)
	s := startServer(t, func(c *Config) { c.AllowPeers = nil })
	own, err := newPolicy(s.config, nil)
	if err != nil {
		t.Fatal(err)
	}
	list := []string{
		"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
		"100.64.0.1", "169.254.169.254", "169.254.1.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1",
		"203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16", "100.100.100.200",
		"::", "::1", "::127.0.0.1", "::10.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
		"::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
		"64:ff9b:1:7f00:0:100::", "2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1", "2001:0:7f00:1::",
		"2001:0:808:808::80ff:fefe", "fe80::1", "fec0::1", "fc00::1", "fd00::1", "fd00:ec2::254", "ff02::1", "100::1",
		"2001:db8::1", "3fff::1", "5f00::1", "2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1",
	}
	v4, v6, tcp4 := dialUDP(t, s), dialUDP(t, s), dialTCP(t, s)
	v4.allocate()
	v6.allocate(wantUDP, want6)
	tcp4.allocate(wantTCP)
	for _, text := range list {
		ip := netip.MustParseAddr(text)
		peer := netip.AddrPortFrom(ip, 80)
		client := v6
		if ip.Is4() {
			client = v4
			if got := tcp4.code(stun.MethodConnect, peerWire(peer)); got != stun.CodeForbidden {
				t.Errorf("Connect %v: got %v, want 403", ip, got)
			}
		}
		if got := client.code(stun.MethodCreatePermission, peerWire(peer)); got != stun.CodeForbidden {
			t.Errorf("CreatePermission %v: got %v, want 403", ip, got)
		}
		if got := client.code(stun.MethodChannelBind, channel(0x4000), peerWire(peer)); got != stun.CodeForbidden {
			t.Errorf("ChannelBind %v: got %v, want 403", ip, got)
		}
		if own.address(ip) == Allowed {
			t.Errorf("policy allows %v", ip)
		}
	}
	for _, text := range []string{"8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "2a00:1450::5efe:808:808"} {
		if reason := own.address(netip.MustParseAddr(text)); reason != Allowed {
			t.Errorf("policy denies %v: %v", text, reason)
		}
	}
}

// peerWire writes the address as it is, disguise and all.
func peerWire(peer netip.AddrPort) attrs {
	return func(b *stun.Builder) {
		if peer.Addr().Is4() {
			b.AddXORAddr(stun.AttrXORPeerAddress, peer)
			return
		}
		value := []byte{0, 2, byte(peer.Port() >> 8), byte(peer.Port())}
		ip := peer.Addr().As16()
		value = append(value, ip[:]...)
		mask := b.Bytes()[4:stun.HeaderLen]
		value[2] ^= mask[0]
		value[3] ^= mask[1]
		for i := range mask {
			value[4+i] ^= mask[i]
		}
		b.Add(stun.AttrXORPeerAddress, value)
	}
}

func TestStrictChannels(t *testing.T) {
	s := startServer(t, func(c *Config) { c.StrictChannels = true })
	for number, want := range map[uint16]stun.ErrorCode{0x4fff: 0, 0x5000: 400, 0x7ffe: 400} {
		c := dialUDP(t, s)
		c.allocate()
		if got := c.code(stun.MethodChannelBind, channel(number), peerText("127.0.0.1:1")); got != want {
			t.Errorf("%#x: got %v, want %v", number, got, want)
		}
	}
}

// A rule about IPv4 holds in every IPv6 clothing.
func TestDenyRulesSeeThroughDisguises(t *testing.T) {
	p, err := newPolicy(Config{
		AllowPeers: prefixes("0.0.0.0/0", "::/0"),
		DenyPeers:  prefixes("8.8.8.0/24"),
	}, []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:3478"), netip.MustParseAddrPort("0.0.0.0:3479")})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"8.8.8.8", "::8.8.8.8", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b:1:808:8:800::",
		"2002:808:808::", "2001:0:808:808::", "2001::f7f7:f7f7", "2606:4700::5efe:8.8.8.8",
	} {
		if reason := p.address(netip.MustParseAddr(text)); reason == Allowed {
			t.Errorf("%s is allowed", text)
		}
	}
	never := func(netip.AddrPort) bool { return false }
	for _, c := range []struct {
		peer string
		want DenyReason
	}{
		{"9.9.9.9:53", Allowed},
		{"9.9.9.9:0", DeniedEndpoint},
		{"192.0.2.1:3478", DeniedEndpoint}, // our listener, although everything is allowed
		{"192.0.2.1:3480", Allowed},
		{"127.0.0.1:3479", DeniedEndpoint}, // the listener on every address
		{"127.0.0.1:3480", Allowed},
		{"9.9.9.9:3479", Allowed},
		{"169.254.169.254:80", DeniedMetadata},
		{"0.0.0.0:80", DeniedSpecial},
		{"[::]:80", DeniedSpecial},
	} {
		if got := p.endpoint(netip.MustParseAddrPort(c.peer), never); got != c.want {
			t.Errorf("%s: got %v, want %v", c.peer, got, c.want)
		}
	}
}

// Nobody relays to our own listener, whatever is allowed.
func TestOwnListenerIsNoPeer(t *testing.T) {
	s := startServer(t, nil)
	c, tcp := dialUDP(t, s), dialTCP(t, s)
	c.allocate()
	tcp.allocate(wantTCP)
	for _, listener := range s.Addrs() {
		if got := c.code(stun.MethodChannelBind, channel(0x4000), peerAt(listener)); got != stun.CodeForbidden {
			t.Errorf("ChannelBind %v: got %v, want 403", listener, got)
		}
		if got := tcp.code(stun.MethodConnect, peerAt(listener)); got != stun.CodeForbidden {
			t.Errorf("Connect %v: got %v, want 403", listener, got)
		}
		c.code(stun.MethodCreatePermission, peerAt(listener)) // by address only
		c.send(sendIndication([]byte("loop"), peerAt(listener)))
	}
	c.silent()
	if got := s.Stats().Drops["denied_endpoint"]; got != 2 {
		t.Errorf("%d dropped as denied endpoint, want 2", got)
	}
}

// Without anything allowed, relayed addresses of this server may meet if they are told to, and nothing else at that address.
func TestOwnRelays(t *testing.T) {
	s := startServer(t, func(c *Config) { c.AllowPeers, c.OwnRelays = nil, true })
	a, b := dialUDP(t, s), dialUDP(t, s)
	relayedA, relayedB := a.allocate(), b.allocate()
	for _, c := range []struct {
		name string
		peer netip.AddrPort
		want stun.ErrorCode
	}{
		{"another relayed address", relayedB, 0},
		{"its own", relayedA, 403},
		{"a port beside", netip.AddrPortFrom(loop4, 9), 403},
		{"another loopback address", netip.MustParseAddrPort("127.0.0.2:9"), 403},
	} {
		if got := a.code(stun.MethodChannelBind, channel(0x4000), peerAt(c.peer)); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	if got := b.code(stun.MethodChannelBind, channel(0x4000), peerAt(relayedA)); got != 0 {
		t.Fatal(got)
	}
	a.send(channelData(0x4000, []byte("through two relays")))
	if got := b.frame(); string(got[4:]) != "through two relays" {
		t.Errorf("got %q", got)
	}
	secret := newPeer(t, loop4)
	a.send(sendIndication([]byte("probe"), peerAt(secret.addr)))
	a.silent()
	if got := s.Stats().Drops["denied_endpoint"]; got != 1 {
		t.Errorf("%d dropped as denied endpoint, want 1", got)
	}
}
