package daemon

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

// natServer is a STUN server with two addresses and two ports each, behind which a NAT is played: mapped says how a socket of
// the server sees the client, passes whether the NAT lets in what answers from another one.
type natServer struct {
	at     [2][2]*net.UDPConn // by address, by port
	mapped func(addr, port int) netip.AddrPort
	passes func(addr, port bool) bool // whether another address, another port answers
}

func startNAT(t *testing.T, s natServer) netip.AddrPort {
	t.Helper()
	open := func(ip string, port int) *net.UDPConn {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip), Port: port})
		if err != nil {
			t.Skipf("no second loopback address: %v", err)
		}
		return c
	}
	s.at[0][0], s.at[0][1] = open("127.0.0.1", 0), open("127.0.0.1", 0)
	for p := range 2 {
		s.at[1][p] = open("127.0.0.2", s.at[0][p].LocalAddr().(*net.UDPAddr).Port)
	}
	ended := make(chan struct{}, 4)
	for a := range 2 {
		for p := range 2 {
			go func() { s.serve(a, p); ended <- struct{}{} }()
		}
	}
	t.Cleanup(func() {
		for _, c := range []*net.UDPConn{s.at[0][0], s.at[0][1], s.at[1][0], s.at[1][1]} {
			c.Close()
		}
		for range 4 {
			<-ended
		}
	})
	return s.at[0][0].LocalAddr().(*net.UDPAddr).AddrPort()
}

func (s *natServer) serve(a, p int) {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.at[a][p].ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		m, err := stun.Parse(buf[:n])
		if err != nil {
			continue
		}
		change, _ := m.Uint32(stun.AttrChangeRequest)
		byAddr, byPort := change&changeAddress != 0, change&changePort != 0
		if change != 0 && !s.passes(byAddr, byPort) {
			continue
		}
		b := stun.Respond(nil, m, stun.ClassSuccess)
		b.AddXORAddr(stun.AttrXORMappedAddress, s.mapped(a, p))
		b.AddAddr(stun.AttrOtherAddress, s.at[1][1].LocalAddr().(*net.UDPAddr).AddrPort())
		if byAddr {
			a ^= 1
		}
		if byPort {
			p ^= 1
		}
		_, _ = s.at[a][p].WriteToUDPAddrPort(b.Bytes(), from)
		if byAddr {
			a ^= 1
		}
		if byPort {
			p ^= 1
		}
	}
}

// TestNATWords: what a server with two addresses tells of each kind of NAT.
func TestNATWords(t *testing.T) {
	outside := func(port int) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(port))
	}
	for _, c := range []struct {
		name               string
		mapped             func(a, p int) netip.AddrPort
		passes             func(a, p bool) bool
		mapping, filtering string
	}{
		{"full cone", func(int, int) netip.AddrPort { return outside(1000) }, func(bool, bool) bool { return true }, natIndependent, natIndependent},
		{"restricted", func(a, _ int) netip.AddrPort { return outside(1000 + a) }, func(a, _ bool) bool { return !a }, natAddress, natAddress},
		{"symmetric", func(a, p int) netip.AddrPort { return outside(1000 + 2*a + p) }, func(bool, bool) bool { return false }, natAddressPort, natAddressPort},
		{"none", func(int, int) netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:7") }, func(bool, bool) bool { return true }, natNone, natIndependent},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := startNAT(t, natServer{mapped: c.mapped, passes: c.passes})
			a, err := newAsker(t.Context(), false)
			if err != nil {
				t.Fatal(err)
			}
			defer a.close()
			a.pause = 100 * time.Millisecond
			first, err := a.ask(t.Context(), server, 0, 50)
			if err != nil {
				t.Fatal(err)
			}
			if got := a.filtering(t.Context(), server, first); got != c.filtering {
				t.Errorf("filtering %s, want %s", got, c.filtering)
			}
			if got := a.mapping(t.Context(), server, first, nil); got != c.mapping {
				t.Errorf("mapping %s, want %s", got, c.mapping)
			}
		})
	}
}

// TestNATByTwoServers: without second addresses two servers are compared.
func TestNATByTwoServers(t *testing.T) {
	var a asker
	first := seen{mapped: netip.MustParseAddrPort("192.0.2.1:1000")}
	other := seen{mapped: netip.MustParseAddrPort("192.0.2.1:1001")}
	for _, c := range []struct {
		others []seen
		want   string
	}{{nil, natUnknown}, {[]seen{first}, natIndependent}, {[]seen{first, other}, natDependent}} {
		if got := a.mapping(t.Context(), netip.AddrPort{}, first, c.others); got != c.want {
			t.Errorf("%v: %s, want %s", c.others, got, c.want)
		}
	}
	if got := a.filtering(t.Context(), netip.AddrPort{}, first); got != natUnknown {
		t.Errorf("filtering %s without a second address", got)
	}
	if median([]time.Duration{3, 1, 2}) != 2 || median([]time.Duration{4, 1}) != 1 || median(nil) != 0 {
		t.Error("median")
	}
}
