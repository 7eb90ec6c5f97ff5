package turn

import (
	"net/netip"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

func drained(s *Server) bool {
	select {
	case <-s.Drained():
		return true
	default:
		return false
	}
}

func TestDrainEndsAtOnceWhenNobodyIsThere(t *testing.T) {
	s := startServer(t, nil)
	s.Drain()
	if !drained(s) {
		t.Error("it waits for nobody")
	}
}

// Nobody may come for a reserved port.
func TestDrainDoesNotWaitForReservations(t *testing.T) {
	s := startServer(t, nil)
	c := dialUDP(t, s)
	c.allocate(wantUDP, pair)
	if code := c.code(stun.MethodRefresh, lifetime(0)); code != 0 {
		t.Fatal(code)
	}
	s.Drain()
	if !drained(s) || s.Stats().Reserved != 1 {
		t.Errorf("drained %v with %d reserved ports", drained(s), s.Stats().Reserved)
	}
}

func TestDrainLetsSessionsEnd(t *testing.T) {
	s := startServer(t, nil)
	c := dialUDP(t, s)
	c.allocate()
	s.Drain()
	late := dialUDP(t, s)
	if code := late.login().code(stun.MethodAllocate, wantUDP); code != stun.CodeInsufficientCapacity {
		t.Errorf("a new allocation: got %v, want 508", code)
	}
	if code := c.code(stun.MethodRefresh); code != 0 || drained(s) {
		t.Errorf("refresh while draining: %v, drained %v", code, drained(s))
	}
	if code := c.code(stun.MethodRefresh, lifetime(0)); code != 0 {
		t.Error(code)
	}
	select {
	case <-s.Drained():
	case <-time.After(patience):
		t.Error("not drained after the last session")
	}
}

func TestDrainNamesTheAlternate(t *testing.T) {
	want := netip.MustParseAddrPort("192.0.2.7:3478")
	s := startServer(t, func(c *Config) {
		c.Alternates = []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::7]:3478"), want}
	})
	s.Drain()
	c := dialUDP(t, s).login()
	m := c.ask(stun.MethodAllocate, wantUDP) // checks the signature
	got, err := m.Addr(stun.AttrAlternateServer)
	if code := codeOf(t, m); code != stun.CodeTryAlternate || err != nil || got != want {
		t.Errorf("got %v and %v, %v; want 300 and %v", code, got, err, want)
	}
	if n := s.Stats().Refusals["300"]; n != 1 {
		t.Errorf("%d counted", n)
	}
}

func TestSessionsAndKill(t *testing.T) {
	s := startServer(t, nil)
	peer := newPeer(t, loop4)
	c := dialUDP(t, s)
	bindChannel(t, c, peer)
	c.send(channelData(0x4000, []byte("12345")))
	peer.receive()
	list := s.Sessions()
	if len(list) != 1 {
		t.Fatalf("%d sessions, want 1", len(list))
	}
	one := list[0]
	if one.ID != "udp/"+one.Relayed.String() || one.User != "u" || one.Transport != "udp" || one.BytesUp != 5 || one.PacketsUp != 1 ||
		len(one.Permissions) != 1 || len(one.Channels) != 1 || one.Channels[0].Peer != peer.addr.String() || !one.Expires.After(time.Now()) {
		t.Errorf("got %+v", one)
	}
	if s.Kill("udp/127.0.0.1:1") {
		t.Error("killed a session that is not there")
	}
	if !s.Kill(one.ID) || len(s.Sessions()) != 0 {
		t.Error("the session is still there")
	}
	if code := c.code(stun.MethodRefresh); code != stun.CodeAllocationMismatch {
		t.Errorf("refresh of a killed session: got %v, want 437", code)
	}
}
