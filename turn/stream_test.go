package turn

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

// TURN.md 93 and 99.
func TestGarbageClosesTheStream(t *testing.T) {
	s := startServer(t, nil)
	for _, c := range []struct {
		name string
		send []byte
	}{
		{"first byte 0x50", []byte{0x50, 0, 0, 0}},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n")},
		{"TLS", []byte{0x16, 3, 1, 0, 10}},
		{"wrong cookie", []byte{0, 1, 0, 0, 1, 2, 3, 4}},
		{"length no multiple of four", []byte{0, 1, 0, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := dialTCP(t, s)
			client.send(c.send)
			client.closed()
		})
	}
	after := dialTCP(t, s)
	after.allocate()
	after.send([]byte{0xff})
	after.closed()
	waitFor(t, "its allocation to go", func() bool { return count(s) == 0 })
}

// Who says nothing, or too little, is closed; who has an allocation is not.
func TestSlowStreamsAreClosed(t *testing.T) {
	const short = 150 * time.Millisecond
	s := startServer(t, func(c *Config) { c.FirstMessage, c.Unallocated = short, 2*short })
	idle, silent, dribbling, lonely, late := dialTCP(t, s), dialTCP(t, s), dialTCP(t, s), dialTCP(t, s), dialTCP(t, s)
	for _, c := range []*testClient{idle, late} {
		c.allocate()
	}
	go func() { // a byte at a time
		ticker := time.NewTicker(short / 10)
		defer ticker.Stop()
		for _, b := range dribbling.build(stun.MethodBinding, raw(stun.AttrSoftware, make([]byte, 200)...)) {
			if _, err := dribbling.conn.Write([]byte{b}); err != nil {
				return
			}
			<-ticker.C
		}
	}()
	lonely.ask(stun.MethodBinding)
	late.send([]byte{0, 1, 0, 0}) // the beginning of a message
	for name, c := range map[string]*testClient{"silent": silent, "dribbling": dribbling, "without allocation": lonely, "half a message": late} {
		c.closed()
		t.Logf("%s: closed", name)
	}
	if got := idle.code(stun.MethodRefresh); got != 0 {
		t.Errorf("with an allocation: %v", got)
	}
	if got := idle.code(stun.MethodRefresh, lifetime(0)); got != 0 {
		t.Fatal(got)
	}
	idle.closed() // now it is without
}

func TestStrangersOnTCPAreCapped(t *testing.T) {
	s := startServer(t, func(c *Config) { c.MaxStrangers = 8 }) // 2 of a neighbourhood
	known := dialTCP(t, s)
	known.allocate()
	a, b := dialTCP(t, s), dialTCP(t, s)
	a.ask(stun.MethodBinding)
	b.ask(stun.MethodBinding)
	if conn, err := net.Dial("tcp", s.TCPAddrs()[0].String()); err == nil { // or it is reset at once
		third := &testClient{t: t, conn: conn, stream: true}
		third.closed()
		conn.Close()
	}
	if got := known.code(stun.MethodRefresh); got != 0 {
		t.Errorf("the known client: %v", got)
	}
	a.conn.Close()
	waitFor(t, "the place to be free", func() bool { return s.Stats().Strangers == 1 })
	dialTCP(t, s).allocate()
}

func TestPortInUse(t *testing.T) {
	s := startServer(t, nil)
	for name, change := range map[string]func(*Config){
		"udp": func(c *Config) { c.ListenUDP, c.ListenTCP = s.UDPAddrs(), nil },
		"tcp": func(c *Config) { c.ListenUDP, c.ListenTCP = nil, s.TCPAddrs() },
	} {
		c := Config{RelayIP4: loop4}
		change(&c)
		if second, err := New(c); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: got %v, want address in use", name, err)
			if err == nil {
				_ = second.Close()
			}
		}
	}
	dialUDP(t, s).allocate()
}

func TestConfigErrors(t *testing.T) {
	listen := []netip.AddrPort{netip.AddrPortFrom(loop4, 0)}
	for _, c := range []struct {
		name   string
		config Config
	}{
		{"nothing to listen on", Config{RelayIP4: loop4}},
		{"no relay address", Config{ListenUDP: listen}},
		{"relay address of the wrong family", Config{ListenUDP: listen, RelayIP4: loop6}},
		{"relay on every address", Config{ListenUDP: listen, RelayIP4: netip.IPv4Unspecified()}},
		{"well-known ports", Config{ListenUDP: listen, RelayIP4: loop4, PortMin: 80, PortMax: 90}},
		{"ports backwards", Config{ListenUDP: listen, RelayIP4: loop4, PortMin: 9000, PortMax: 8000}},
		{"quoted realm", Config{ListenUDP: listen, RelayIP4: loop4, Realm: `a"b`}},
		{"nonces for ever", Config{ListenUDP: listen, RelayIP4: loop4, NonceLifetime: 2 * time.Hour}},
		{"small backlog", Config{ListenUDP: listen, RelayIP4: loop4, StreamBacklog: 1}},
		{"negative shards", Config{ListenUDP: listen, RelayIP4: loop4, Shards: -1}},
	} {
		if s, err := New(c.config); err == nil {
			_ = s.Close()
			t.Errorf("%s: no error", c.name)
		}
	}
}

// A server on every address answers from the one that was asked, and serves both families.
func TestEveryAddress(t *testing.T) {
	s := startServer(t, func(c *Config) {
		c.ListenUDP, c.ListenTCP = []netip.AddrPort{{}}, []netip.AddrPort{{}}
	})
	for _, text := range []string{"127.0.0.1", "127.0.0.2", "::1"} {
		ip := netip.MustParseAddr(text)
		for _, network := range []string{"udp", "tcp"} {
			if ip.Is6() {
				needIPv6(t)
			}
			for _, l := range map[string][]netip.AddrPort{"udp": s.UDPAddrs(), "tcp": s.TCPAddrs()}[network] {
				if l.Addr().Is4() != ip.Is4() {
					continue
				}
				c := dialTest(t, network, netip.AddrPortFrom(ip, l.Port()))
				peer := newPeer(t, loop4)
				relayed := c.allocate()
				if got := c.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); got != 0 {
					t.Fatal(got)
				}
				peer.send(relayed, []byte("down"))
				if got := c.frame(); string(got[4:8]) != "down" { // a connected socket takes only the right source
					t.Errorf("%s %v: got %q", network, ip, got)
				}
			}
		}
	}
}

func TestServeEndsWithEverything(t *testing.T) {
	s := startServer(t, nil)
	c, tcp := dialUDP(t, s), dialTCP(t, s)
	c.allocate(wantUDP, pair)
	relayed := tcp.allocate(wantTCP)
	l, addr := listenPeer(t, loop4)
	near := tcp.connectTo(s, addr)
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	_ = s.Close()
	for name, conn := range map[string]net.Conn{"near": near, "far": far, "control": tcp.conn} {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := conn.Read(make([]byte, 100)); err == nil || isTimeout(err) {
			t.Errorf("%s: got %v, want the end", name, err)
		}
	}
	for _, at := range []netip.AddrPort{s.UDPAddrs()[0], relayed} { // one after the other: what is found free stays taken
		waitFor(t, "a port to be free", func() bool { return newPeerAt(t, at) != nil })
	}
}
