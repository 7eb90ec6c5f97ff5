package turnclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	pionturn "github.com/pion/turn/v2"

	"traverse.internal/core/turnclient"
	"traverse.internal/internal/loopback"
)

// came is one datagram that a peer sent.
type came struct {
	from netip.AddrPort
	data []byte
}

// relayedUDP is one UDP allocation at a real server, and what comes to it.
func relayedUDP(t *testing.T, cfg turnclient.Config, family turnclient.Family) (*turnclient.UDPAllocation, <-chan came) {
	t.Helper()
	cfg.Username, cfg.Password = "u", "p"
	c, err := turnclient.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	in := make(chan came, 100)
	a, err := c.AllocateUDP(t.Context(), family, func(from netip.AddrPort, b []byte) {
		select {
		case in <- came{from, bytes.Clone(b)}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return a, in
}

// datagramsBothWays sends datagrams of many lengths both ways through a relay that listens at server, by indications and by a
// channel, and gives the port back. Lengths are those of all uses when none are given.
func datagramsBothWays(t *testing.T, cfg turnclient.Config, family turnclient.Family, lengths ...int) {
	t.Helper()
	if lengths == nil {
		lengths = []int{1, 2, 3, 4, 100, 1199, 1200, 1400}
	}
	a, in := relayedUDP(t, cfg, family)
	lo := loopback.IP4
	if family == turnclient.IPv6 {
		lo = loopback.IP6
	}
	peer, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(lo, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	at := peer.LocalAddr().(*net.UDPAddr).AddrPort()
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	if err := a.Permit(t.Context(), at.Addr()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	round := func(how string) {
		t.Helper()
		for _, n := range lengths {
			want := bytes.Repeat([]byte{byte(n)}, n)
			if !a.Send(at, want[:1], want[1:]) {
				t.Fatalf("%s: %d bytes not sent", how, n)
			}
			_ = peer.SetReadDeadline(time.Now().Add(10 * time.Second))
			got, from, err := peer.ReadFromUDPAddrPort(buf)
			if err != nil || !bytes.Equal(buf[:got], want) {
				t.Fatalf("%s: the peer got %d bytes, %v, want %d", how, got, err, n)
			}
			if from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port()); from != a.Relayed() {
				t.Errorf("%s: came from %v, want %v", how, from, a.Relayed())
			}
			if _, err := peer.WriteToUDPAddrPort(want, from); err != nil {
				t.Fatal(err)
			}
			select {
			case x := <-in:
				if x.from != at || !bytes.Equal(x.data, want) {
					t.Fatalf("%s: got %d bytes from %v, want %d from %v", how, len(x.data), x.from, n, at)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s: %d bytes did not come", how, n)
			}
		}
	}
	round("indications")
	if err := a.Bind(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if got := a.Bound(); len(got) != 1 || got[0] != at {
		t.Errorf("bound %v, want %v", got, at)
	}
	round("channel")
	if in, out := a.Dropped(); in+out > 0 {
		t.Errorf("dropped %d in, %d out", in, out)
	}
	_ = a.Close()
	if err := a.Err(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close Err is %v", err)
	}
}

// datagramsEveryWay runs datagramsBothWays over both families and control connections.
func datagramsEveryWay(t *testing.T, v4, v6 netip.AddrPort) {
	for _, server := range []netip.AddrPort{v4, v6} {
		for _, family := range []turnclient.Family{turnclient.IPv4, turnclient.IPv6} {
			for _, udp := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v through %v, UDP %v", family, server.Addr(), udp), func(t *testing.T) {
					datagramsBothWays(t, turnclient.Config{Server: server, UDP: udp}, family)
				})
			}
		}
	}
}

func TestTurndDatagrams(t *testing.T) {
	v4, v6 := startTurnd(t)
	datagramsEveryWay(t, v4, v6)
}

func TestCoturnDatagrams(t *testing.T) {
	loopback.NeedIPv6(t)
	port := loopback.Coturn{Args: []string{"--no-tcp-relay"}}.Start(t)
	v4 := netip.AddrPortFrom(loopback.IP4, port)
	t.Run("no TCP ports", func(t *testing.T) {
		c, err := turnclient.Dial(t.Context(), turnclient.Config{Server: v4, Username: "u", Password: "p"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Allocate(t.Context(), turnclient.IPv4); !errors.Is(err, turnclient.ErrTransport) {
			t.Errorf("got %v, want %v", err, turnclient.ErrTransport)
		}
		// The same connection may ask for the other.
		a, err := c.AllocateUDP(t.Context(), turnclient.IPv4, func(netip.AddrPort, []byte) {})
		if err != nil {
			t.Fatal(err)
		}
		_ = a.Close()
	})
	datagramsEveryWay(t, v4, netip.AddrPortFrom(loopback.IP6, port))
}

// pion/turn's server has IPv4 only.
func TestPionDatagrams(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	relays := &pionturn.RelayAddressGeneratorStatic{RelayAddress: net.IPv4(127, 0, 0, 1), Address: "127.0.0.1"}
	server, err := pionturn.NewServer(pionturn.ServerConfig{
		Realm: "r",
		AuthHandler: func(user, realm string, _ net.Addr) ([]byte, bool) {
			return pionturn.GenerateAuthKey(user, realm, "p"), user == "u"
		},
		ListenerConfigs:   []pionturn.ListenerConfig{{Listener: ln, RelayAddressGenerator: relays}},
		PacketConnConfigs: []pionturn.PacketConnConfig{{PacketConn: pc, RelayAddressGenerator: relays}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	t.Run("TCP", func(t *testing.T) {
		datagramsBothWays(t, turnclient.Config{Host: ln.Addr().String()}, turnclient.IPv4, 5, 6, 100, 1199, 1400) // it waits for 9 bytes before it looks at a frame
	})
	t.Run("UDP", func(t *testing.T) {
		datagramsBothWays(t, turnclient.Config{Host: pc.LocalAddr().String(), UDP: true}, turnclient.IPv4)
	})
}

// Where nobody listens a client over UDP says so, and does not wait for the end of its time.
func TestNobodyListensOnUDP(t *testing.T) {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := pc.LocalAddr().String()
	_ = pc.Close()
	c, err := turnclient.Dial(t.Context(), turnclient.Config{Host: at, UDP: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.AllocateUDP(context.WithoutCancel(t.Context()), turnclient.IPv4, func(netip.AddrPort, []byte) {})
	var gone *turnclient.UnreachableError
	if !errors.As(err, &gone) || gone.Op != "control connection" {
		t.Errorf("got %v, want the end of the control connection", err)
	}
}
