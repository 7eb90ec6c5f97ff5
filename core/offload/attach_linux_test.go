//go:build amd64 || arm64

package offload

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/link"

	"traverse.internal/internal/netlab"
)

// lab is a client and a peer, each on a cable of its own, and a relay here between them.
type lab struct {
	relay        *Relay
	client, peer *netlab.Host
	reports      []error
}

func newLab(t *testing.T, config Config) *lab {
	t.Helper()
	if !netlab.Alone(t) {
		return nil
	}
	l := &lab{client: netlab.NewHost(t), peer: netlab.NewHost(t)}
	config.Report = func(err error) { l.reports = append(l.reports, err) }
	l.client.Cable(t, "client", []string{"10.1.0.1/24", "fd01::1/64"}, []string{"10.1.0.2/24", "fd01::2/64"})
	l.peer.Cable(t, "peer", []string{"10.2.0.1/24", "fd02::1/64"}, []string{"10.2.0.2/24", "fd02::2/64"})
	var err error
	if l.relay, err = Open(config); err != nil {
		t.Skipf("MISSING: eBPF in this kernel: %v", err)
	}
	t.Cleanup(func() { _ = l.relay.Close() })
	return l
}

// socket opens one at a host. It is closed when the test ends.
func socket(t *testing.T, h *netlab.Host, a net.Addr) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	h.Do(t, func() {
		var err error
		if conn, err = net.ListenUDP("udp", a.(*net.UDPAddr)); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// exchange sends a datagram each way and wants it relayed.
func (l *lab) exchange(t *testing.T, client, peer *net.UDPConn, f Flow) {
	t.Helper()
	for i, data := range []string{"one datagram", "and another of them"} {
		message := channelData(f.Channel, []byte(data))
		if _, err := client.WriteToUDPAddrPort(message, f.Server); err != nil {
			t.Fatal(err)
		}
		expect(t, peer, []byte(data), f.Relayed.String())
		if _, err := peer.WriteToUDPAddrPort([]byte(data), f.Relayed); err != nil {
			t.Fatal(err)
		}
		expect(t, client, message, f.Server.String())
		_ = i
	}
}

func expect(t *testing.T, conn *net.UDPConn, want []byte, from string) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 2048)
	n, sender, err := conn.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b[:n], want) || sender.String() != from {
		t.Fatalf("got %q from %v, want %q from %s", b[:n], sender, want, from)
	}
}

func (l *lab) insert(t *testing.T, f Flow) Handle {
	t.Helper()
	h, err := l.relay.Insert(f)
	if err != nil {
		t.Fatal(err)
	}
	l.relay.Renew(h, MaxLease)
	return h
}

// TestAttach relays over both ways of attaching, and through everything that befalls an attachment.
func TestAttach(t *testing.T) {
	for _, how := range []string{"tcx", "clsact"} {
		t.Run(how, func(t *testing.T) {
			l := newLab(t, Config{NoTCX: how == "clsact"})
			if l == nil {
				return
			}
			want := []Interface{{Name: "client", How: how}, {Name: "peer", How: how}}
			if got := l.relay.Stats().Interfaces; !slices.Equal(got, want) {
				if how == "tcx" && len(got) == 2 && got[0].How == "clsact" {
					t.Skip("MISSING: tcx in this kernel")
				}
				t.Fatalf("interfaces: got %v, want %v", got, want)
			}
			client, peer := socket(t, l.client, net.UDPAddrFromAddrPort(flow4.Client)), socket(t, l.peer, net.UDPAddrFromAddrPort(flow4.Peer))
			client6, peer6 := socket(t, l.client, net.UDPAddrFromAddrPort(flow6.Client)), socket(t, l.peer, net.UDPAddrFromAddrPort(flow6.Peer))
			h, h6 := l.insert(t, flow4), l.insert(t, flow6)
			both := func() {
				t.Helper()
				l.relay.Renew(h, MaxLease)
				l.relay.Renew(h6, MaxLease)
				l.exchange(t, client, peer, flow4)
				l.exchange(t, client6, peer6, flow6)
			}
			both()
			if _, err := l.relay.Insert(flow4); !errors.Is(err, ErrClash) {
				t.Errorf("a flow twice: got %v, want %v", err, ErrClash)
			}
			for _, h := range []Handle{h, h6} {
				if got, want := l.relay.Counts(h), (Both{Counts{2, 31}, Counts{2, 31}}); got != want {
					t.Errorf("counts: got %+v, want %+v", got, want)
				}
			}

			t.Log("a link that only this process holds")
			for range 3 {
				runtime.GC()
			}
			both()

			t.Log("somebody detaches the program")
			l.detach(t, "peer")
			if got := l.attached(); got != 1 {
				t.Fatalf("attached: got %d, want 1", got)
			}
			l.relay.Sweep()
			both()
			if got := l.relay.Stats().Detached; got != 1 || len(l.reports) != 1 {
				t.Errorf("detached: got %d and %v, want 1 and one report", got, l.reports)
			}

			t.Log("the peer's interface goes, and another comes")
			netlab.Run(t, "ip", "link", "del", "peer")
			l.relay.Sweep()
			if got, want := l.relay.Stats().Interfaces, want[:1]; !slices.Equal(got, want) {
				t.Errorf("interfaces: got %v, want %v", got, want)
			}
			l.peer.Cable(t, "peer", []string{"10.2.0.1/24", "fd02::1/64"}, []string{"10.2.0.2/24", "fd02::2/64"})
			l.relay.Sweep()
			both()
			if got := l.relay.Stats(); !slices.Equal(got.Interfaces, want) || got.Detached != 1 {
				t.Errorf("interfaces: got %v, want %v; detached %d, want 1", got.Interfaces, want, got.Detached)
			}

			t.Log("somebody insists")
			for range maxLost {
				l.detach(t, "client")
				l.relay.Sweep()
			}
			st := l.relay.Stats()
			if got := st.Interfaces[0]; got.How != "" || !strings.Contains(got.Why, "10 times") {
				t.Errorf("interface: got %+v, want it given up", got)
			}
			if err := l.relay.Close(); err != nil {
				t.Fatal(err)
			}
			if out := netlab.Run(t, "tc", "filter", "show", "dev", "peer", "ingress"); strings.Contains(out, filterName) {
				t.Errorf("after Close there is a filter:\n%s", out)
			}
		})
	}
}

// attached counts the programs that the kernel has at interfaces.
func (l *lab) attached() (n int) {
	for _, a := range l.relay.attached {
		if a.attached() {
			n++
		}
	}
	return n
}

// detach does what another program would.
func (l *lab) detach(t *testing.T, name string) {
	t.Helper()
	for _, a := range l.relay.attached {
		if a.name != name {
			continue
		}
		if a.link == nil {
			netlab.Run(t, "tc", "filter", "del", "dev", name, "ingress")
			return
		}
		info, err := a.link.Info()
		if err != nil {
			t.Fatal(err)
		}
		other, err := link.NewFromID(info.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if err := other.(interface{ Detach() error }).Detach(); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal(fmt.Errorf("nothing is attached to %s", name))
}

// TestRoute follows a route's MTU.
func TestRoute(t *testing.T) {
	l := newLab(t, Config{})
	if l == nil {
		return
	}
	h := l.insert(t, flow4)
	e := l.relay.flows[h]
	if got := e.out[up].mtu; got != 1500 {
		t.Fatalf("mtu: got %d, want 1500", got)
	}
	netlab.Run(t, "ip", "route", "add", "10.2.0.2/32", "dev", "peer", "mtu", "1280")
	l.relay.Sweep()
	if got := e.out[up].mtu; got != 1280 {
		t.Errorf("mtu of the new route: got %d, want 1280", got)
	}
	netlab.Run(t, "ip", "route", "add", "unreachable", "10.1.0.2/32")
	l.relay.Sweep()
	if !e.parked {
		t.Error("there is no way to the client, and the flow is in the table")
	}
	netlab.Run(t, "ip", "route", "del", "10.1.0.2/32")
	l.relay.Sweep()
	if e.parked {
		t.Error("there is a way again, and the flow is not in the table")
	}
	l.relay.Release(h)
	if got := l.relay.Stats().Flows; got != 0 {
		t.Errorf("flows: got %d, want 0", got)
	}
}

// TestGateway relays to peers behind a gateway, of either family, and follows when it changes.
func TestGateway(t *testing.T) {
	l := newLab(t, Config{})
	if l == nil {
		return
	}
	l.peer.Run(t, "sh", "-c", "ip addr add 203.0.113.9/32 dev lo; ip addr add 2001:db8:2::9/128 dev lo nodad; ip link set lo up")
	far4, far6 := flow4, flow6
	far4.Peer, far6.Peer = at("203.0.113.9:9999"), at("[2001:db8:2::9]:9999")
	netlab.Run(t, "ip", "route", "add", "203.0.113.0/24", "via", "10.2.0.2")
	netlab.Run(t, "ip", "route", "add", "2001:db8:2::/48", "via", "fd02::2")
	l.relay.Sweep()
	client, client6 := socket(t, l.client, net.UDPAddrFromAddrPort(far4.Client)), socket(t, l.client, net.UDPAddrFromAddrPort(far6.Client))
	peer, peer6 := socket(t, l.peer, net.UDPAddrFromAddrPort(far4.Peer)), socket(t, l.peer, net.UDPAddrFromAddrPort(far6.Peer))
	h, h6 := l.insert(t, far4), l.insert(t, far6)
	through := func(want4, want6 string) {
		t.Helper()
		for h, want := range map[Handle]string{h: want4, h6: want6} {
			if got := l.relay.flows[h].out[up].hop.String(); got != want {
				t.Errorf("the next hop: got %s, want %s", got, want)
			}
			l.relay.Renew(h, MaxLease)
		}
		before := l.relay.Counts(h).Up.Packets + l.relay.Counts(h6).Down.Packets
		l.exchange(t, client, peer, far4)
		l.exchange(t, client6, peer6, far6)
		if got := l.relay.Counts(h).Up.Packets + l.relay.Counts(h6).Down.Packets - before; got != 4 {
			t.Errorf("in the kernel: got %d of 4; left: %v", got, l.relay.Stats().Left)
		}
	}
	through("10.2.0.2", "fd02::2")

	t.Log("another gateway, and IPv4 by one of IPv6 (RFC 5549)")
	l.peer.Run(t, "ip", "addr", "add", "fd02::3/64", "dev", "eth0", "nodad")
	netlab.Run(t, "ip", "route", "replace", "203.0.113.0/24", "via", "inet6", "fd02::2", "dev", "peer")
	netlab.Run(t, "ip", "route", "replace", "2001:db8:2::/48", "via", "fd02::3")
	l.relay.Sweep()
	through("fd02::2", "fd02::3")
}
