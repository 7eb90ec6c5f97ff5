package turn

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

// RFC 5780 §6.1: the answer comes from where it was wanted, and names the other address.
func TestBehaviourDiscovery(t *testing.T) {
	other := netip.MustParseAddr("127.0.0.2")
	s := startServer(t, func(c *Config) { c.OtherUDP = []netip.AddrPort{netip.AddrPortFrom(other, 0)}; c.Shards = 2 })
	at := s.UDPAddrs()
	if len(at) != 4 {
		t.Fatalf("listens at %v, want four addresses", at)
	}
	first, second := at[0], at[1]
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask := func(to netip.AddrPort, add ...attrs) (stun.Message, netip.AddrPort) {
		t.Helper()
		b := stun.New(nil, stun.MethodBinding.Request(), stun.NewTransactionID())
		for _, a := range add {
			a(&b)
		}
		if _, err := conn.WriteToUDPAddrPort(b.Bytes(), to); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		room := make([]byte, 1500)
		n, from, err := conn.ReadFromUDPAddrPort(room)
		if err != nil {
			t.Fatal(err)
		}
		m, err := stun.Parse(room[:n])
		if err != nil {
			t.Fatal(err)
		}
		if size := len(b.Bytes()); n+28 > (size+28)*21/10 {
			t.Errorf("%d bytes answer %d", n, size)
		}
		return m, netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	}
	for _, c := range []struct {
		name  string
		to    netip.AddrPort
		flags byte
		from  netip.AddrPort
		other netip.AddrPort
	}{
		{"nothing changes", first, 0, first, second},
		{"another port", first, 2, netip.AddrPortFrom(first.Addr(), second.Port()), second},
		{"another address", first, 4, netip.AddrPortFrom(other, first.Port()), second},
		{"both", first, 6, second, second},
		{"both, back", second, 6, first, first},
		{"from a mixed one", netip.AddrPortFrom(other, first.Port()), 6, netip.AddrPortFrom(first.Addr(), second.Port()), netip.AddrPortFrom(first.Addr(), second.Port())},
	} {
		m, from := ask(c.to, raw(stun.AttrChangeRequest, 0, 0, 0, c.flags))
		origin, errOrigin := m.Addr(stun.AttrResponseOrigin)
		named, errNamed := m.Addr(stun.AttrOtherAddress)
		if from != c.from || origin != c.from || named != c.other || errOrigin != nil || errNamed != nil {
			t.Errorf("%s: from %v, which says %v, and the other one %v; want %v and %v", c.name, from, origin, named, c.from, c.other)
		}
	}
	if m, _ := ask(first); !m.Has(stun.AttrOtherAddress) || !m.Has(stun.AttrResponseOrigin) {
		t.Error("without CHANGE-REQUEST: the addresses are missing")
	}
	if m, _ := ask(first, raw(stun.AttrChangeRequest, 6)); codeOf(t, m) != stun.CodeBadRequest {
		t.Errorf("a short CHANGE-REQUEST: got %v, want 400", codeOf(t, m))
	}
	// TURN.md 7: nobody else is told, or may choose.
	plain := dialUDP(t, startServer(t, nil))
	if m := plain.ask(stun.MethodBinding); m.Has(stun.AttrOtherAddress) || m.Has(stun.AttrResponseOrigin) {
		t.Error("an address is told without being configured")
	}
	if got := plain.code(stun.MethodBinding, raw(stun.AttrChangeRequest, 0, 0, 0, 6)); got != stun.CodeUnknownAttribute {
		t.Errorf("CHANGE-REQUEST without discovery: got %v, want 420", got)
	}
	stream := dialTCP(t, s)
	if got := stream.code(stun.MethodBinding, raw(stun.AttrChangeRequest, 0, 0, 0, 6)); got != stun.CodeUnknownAttribute {
		t.Errorf("CHANGE-REQUEST over TCP: got %v, want 420", got)
	}
}

func TestOtherAddressesThatCannotBe(t *testing.T) {
	for _, c := range []struct{ listen, other string }{
		{"127.0.0.1:3478", "127.0.0.1:3479"},
		{"127.0.0.1:3478", "127.0.0.2:3478"},
		{"0.0.0.0:3478", "127.0.0.2:3479"},
		{"127.0.0.1:3478", "[::1]:3479"},
		{"127.0.0.1:3478", "0.0.0.0:3479"},
	} {
		_, err := New(Config{
			ListenUDP: []netip.AddrPort{netip.MustParseAddrPort(c.listen)}, RelayIP4: loop4,
			OtherUDP: []netip.AddrPort{netip.MustParseAddrPort(c.other)},
		})
		if err == nil {
			t.Errorf("%s beside %s was taken", c.other, c.listen)
		}
	}
}
