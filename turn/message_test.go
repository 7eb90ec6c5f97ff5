package turn

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

// TURN.md 1 to 11: what is no request of ours gets no answer, and does no harm.
func TestWhatGetsNoAnswer(t *testing.T) {
	s := startServer(t, nil)
	c := dialUDP(t, s)
	c.allocate()
	binding := c.build(stun.MethodBinding)
	with := func(change func(b []byte) []byte) []byte { return change(bytes.Clone(binding)) }
	for _, step := range []struct {
		name string
		send []byte
	}{
		{"empty", nil},
		{"a byte", []byte{0}},
		{"wrong cookie", with(func(b []byte) []byte { b[4] = 0; return b })},
		{"length beyond the datagram", with(func(b []byte) []byte { b[3] = 4; return b })},
		{"length no multiple of four", with(func(b []byte) []byte { b[3] = 1; return append(b, 0) })},
		{"first bits set", with(func(b []byte) []byte { b[0] |= 0x80; return b })},
		{"attribute beyond the message", with(func(b []byte) []byte { b[3] = 4; return append(b, 0x80, 0x22, 0, 9) })},
		{"a success response", with(func(b []byte) []byte { b[0] |= 1; return b })},
		{"an error response", with(func(b []byte) []byte { b[0] |= 1; b[1] |= 0x10; return b })},
		{"wrong fingerprint", with(func(b []byte) []byte { b[3] = 8; return append(b, 0x80, 0x28, 0, 4, 1, 2, 3, 4) })},
		{"a binding indication", with(func(b []byte) []byte { b[1] |= 0x10; return b })},
		{"an allocate indication", with(func(b []byte) []byte { b[1] = 0x13; return b })},
		{"send without peer", sendIndication([]byte("x"))},
		{"send to who is not permitted", sendIndication([]byte("x"), peerText("127.0.0.1:9"))},
		{"send with an unknown attribute", sendIndication([]byte("x"), peerText("127.0.0.1:9"), raw(0x7f02))},
		{"channel data on an unbound channel", channelData(0x4000, []byte("x"))},
		{"channel data longer than the datagram", []byte{0x40, 0, 0, 9, 1}},
		{"half a channel header", []byte{0x40, 0}},
		{"first byte 0x50", []byte{0x50, 0, 0, 0}},
		{"first byte 0xff", []byte{0xff, 0, 0, 0}},
		{"a TLS record", []byte{0x16, 3, 1, 0, 0}},
	} {
		t.Run(step.name, func(t *testing.T) {
			c.t = t
			c.send(step.send)
			c.silent()
		})
	}
	st := s.Stats()
	for _, reason := range []DropReason{DropGarbage, DropUnknown, DropNoPermission, DropUnbound} {
		if st.Drops[reason.String()] == 0 {
			t.Errorf("no drop counted as %v: %v", reason, st.Drops)
		}
	}
}

func TestBinding(t *testing.T) {
	s := startServer(t, nil)
	for name, c := range map[string]*testClient{"udp": dialUDP(t, s), "tcp": dialTCP(t, s)} {
		m := c.ask(stun.MethodBinding)
		var types []stun.AttrType
		for a := range m.All() {
			types = append(types, a)
		}
		if len(types) != 1 || types[0] != stun.AttrXORMappedAddress {
			t.Errorf("%s: attributes %v, want XOR-MAPPED-ADDRESS alone", name, types)
		}
		got, err := m.XORAddr(stun.AttrXORMappedAddress)
		if want := netip.MustParseAddrPort(c.conn.LocalAddr().String()); err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %v", name, got, err, want)
		}
		c.finger = true
		c.ask(stun.MethodBinding)
	}
}

func TestUnknownAttributesAreListedOnce(t *testing.T) {
	s := startServer(t, nil)
	c := dialUDP(t, s)
	m := c.ask(stun.MethodBinding, raw(0x7f01), raw(0x7f02), raw(0x7f01), raw(0xff03))
	types, err := m.AppendUnknownAttributes(nil)
	if codeOf(t, m) != stun.CodeUnknownAttribute || err != nil || len(types) != 2 || types[0] != 0x7f01 || types[1] != 0x7f02 {
		t.Errorf("got %v, %v, %v; want 420 with 0x7f01 and 0x7f02", codeOf(t, m), types, err)
	}
}

func TestUnknownMethod(t *testing.T) {
	s := startServer(t, nil)
	for name, c := range map[string]*testClient{"udp": dialUDP(t, s), "tcp": dialTCP(t, s)} {
		if got := c.code(0x0ff); got != stun.CodeBadRequest {
			t.Errorf("%s: got %v, want 400", name, got)
		}
	}
}

// Whatever is thrown at an open port, the server goes on.
func TestGarbageToEveryPort(t *testing.T) {
	s := startServer(t, func(c *Config) { c.FirstMessage = time.Second })
	victim := dialUDP(t, s)
	relayed := victim.allocate()
	control := dialTCP(t, s)
	tcpRelayed := control.allocate(wantTCP)
	if got := control.code(stun.MethodCreatePermission, peerText("127.0.0.1:0")); got != 0 {
		t.Fatal(got)
	}
	if got := victim.code(stun.MethodChannelBind, channel(0x4000), peerText("127.0.0.2:9")); got != 0 {
		t.Fatal(got)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	junk := func() []byte {
		b := make([]byte, rng.IntN(300))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if len(b) >= 20 && rng.IntN(2) == 0 { // looks like STUN
			b[0] &= 0x3f
			binary.BigEndian.PutUint32(b[4:], stun.Cookie)
			binary.BigEndian.PutUint16(b[2:], uint16(len(b)-20)&^3)
			b = b[:20+(len(b)-20)&^3]
		}
		return b
	}
	for _, to := range []netip.AddrPort{s.UDPAddrs()[0], relayed} {
		conn, err := net.Dial("udp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			_, _ = conn.Write(junk())
		}
		conn.Close()
	}
	for range 100 { // the answers to some of it must fit into the victim's socket
		victim.send(junk())
	}
	for _, to := range []netip.AddrPort{s.TCPAddrs()[0], tcpRelayed} {
		for range 30 {
			conn, err := net.Dial("tcp", to.String())
			if err != nil {
				t.Fatal(err)
			}
			_, _ = conn.Write(junk())
			conn.Close()
		}
	}
	fresh := dialUDP(t, s)
	fresh.allocate()
	if got := victim.code(stun.MethodRefresh); got != 0 {
		t.Errorf("the victim's allocation: %v", got)
	}
}

func TestStrangersAreLimitedByPrefix(t *testing.T) {
	limit := newStrangers(10)
	now := time.Unix(1000, 0)
	a, near, far := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.200"), netip.MustParseAddr("203.0.113.1")
	count := func(from netip.Addr) (n int) {
		for range 1000 {
			if limit.answer(now, from) {
				n++
			}
		}
		return n
	}
	if got := count(a); got != 50 {
		t.Errorf("burst: got %d answers, want 50", got)
	}
	if got := count(near); got != 0 {
		t.Errorf("a neighbour in the same /24: got %d answers, want 0", got)
	}
	if got := count(far); got != 50 && neighbourhood(far) != neighbourhood(a) {
		t.Logf("%v shares a bucket with %v", far, a) // once in 4096 runs
	}
	now = now.Add(time.Second)
	if got := count(near); got != 10 {
		t.Errorf("a second later: got %d answers, want 10", got)
	}
	if got := count(loop4); got != 1000 {
		t.Errorf("loopback: got %d answers, want 1000", got)
	}
}
