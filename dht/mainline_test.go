package dht

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// memInternet carries datagrams between public addresses, in memory: no packet leaves the process.
type memInternet struct {
	mu    sync.Mutex
	hosts map[netip.AddrPort]*memSocket
}

type memSocket struct {
	net    *memInternet
	addr   netip.AddrPort
	queue  chan memDatagram
	closed chan struct{}
	once   sync.Once
}

type memDatagram struct {
	from netip.AddrPort
	b    []byte
}

func (n *memInternet) open(addr netip.AddrPort) *memSocket {
	s := &memSocket{net: n, addr: addr, queue: make(chan memDatagram, 256), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[addr] = s
	return s
}

func (n *memInternet) deliver(from, to netip.AddrPort, b []byte) {
	n.mu.Lock()
	s := n.hosts[to]
	n.mu.Unlock()
	if s == nil {
		return
	}
	select {
	case s.queue <- memDatagram{from, slices.Clone(b)}:
	default:
	}
}

func (s *memSocket) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case d := <-s.queue:
		return copy(b, d.b), d.from, nil
	case <-s.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (s *memSocket) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	s.net.deliver(s.addr, to, b)
	return len(b), nil
}

func (s *memSocket) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(s.addr) }

func (s *memSocket) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// mainlineNode starts a node in Mainline mode at a public address of the internet in memory. Bootstrap nodes are host
// names, and these resolve to boot.
func mainlineNode(t *testing.T, in *memInternet, at netip.AddrPort, boot netip.Addr) *Node {
	t.Helper()
	n, err := Listen(Config{
		Mode: Mainline, Listen: at, PublicIP: at.Addr(), open: func(a netip.AddrPort) (socket, error) { return in.open(a), nil },
		Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
			if host != "router.bittorrent.com" {
				return nil, errors.New("no such host")
			}
			return []netip.Addr{boot}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	closeWith(t, n)
	return n
}

func TestMainlineFromBootstrapNamesToACall(t *testing.T) {
	t.Parallel()
	in := &memInternet{hosts: map[netip.AddrPort]*memSocket{}}
	boot := netip.MustParseAddrPort("8.1.0.1:6881")
	nodes := []*Node{mainlineNode(t, in, boot, netip.MustParseAddr("8.99.0.1"))} // itself it finds nobody
	for i := range 9 {
		nodes = append(nodes, mainlineNode(t, in, netip.MustParseAddrPort(fmt.Sprintf("8.%d.0.1:6881", i+2)), boot.Addr()))
	}
	for i, n := range nodes {
		await(t, n.Joined(), "node to join", i)
	}
	for _, route := range []RouteSet{RouteDirect, RouteCallto} {
		// 100 packets a second are what a Mainline node sends at most: some 12 gets.
		slower := func(c *CourierConfig, _ *signalling.Config) {
			c.Poll, c.CalltoPoll = 800*time.Millisecond, 800*time.Millisecond
		}
		a, b := newDevice(t, nodes[1], route, slower), newDevice(t, nodes[2], route, slower)
		b.allowed = func(id identity.DeviceID) bool { return id == a.ID() }
		a.add(b.ID())
		if route != RouteCallto {
			b.add(a.ID())
		}
		a.start(t)
		b.start(t)
		// Callto's answer comes by the slot.
		t.Logf("route %d: %v", route, mustCall(t, a, b))
		a.stop()
		b.stop()
	}
	for _, n := range nodes[1:] {
		if got := n.Stats().RefusedOut; got != 0 {
			t.Errorf("%d packets were refused between public addresses", got)
		}
	}
}

// TestMainlineRefusesWhatAPrivateDHTIsMadeOf: the two modes differ on the wire.
func TestMainlineRefusesWhatAPrivateDHTIsMadeOf(t *testing.T) {
	in := &memInternet{hosts: map[netip.AddrPort]*memSocket{}}
	public := netip.MustParseAddrPort("8.1.0.1:6881")
	n := mainlineNode(t, in, public, netip.MustParseAddr("127.0.0.1"))
	eventually(t, "the node to try its bootstrap node, which is at loopback", func() bool { return n.Stats().RefusedOut > 0 || n.bootstrap.Load() != nil })

	ping := []byte(query("ping", id20))
	for _, from := range []string{"127.0.0.1:6881", "10.0.0.1:6881", "[::1]:6881", "192.168.1.1:6881", "8.2.0.1:0"} {
		src := netip.MustParseAddrPort(from)
		answered := in.open(src)
		before := n.Stats().Drops[DropAddress]
		in.deliver(src, public, ping)
		eventually(t, "the packet from "+from+" to be dropped", func() bool { return n.Stats().Drops[DropAddress] > before })
		if len(answered.queue) != 0 {
			t.Errorf("a ping from %s was answered", from)
		}
	}
	src := netip.MustParseAddrPort("8.2.0.1:6881")
	answered := in.open(src)
	in.deliver(src, public, ping)
	eventually(t, "a ping from a public address to be answered", func() bool { return len(answered.queue) > 0 })

	for _, to := range []string{"127.0.0.1:1", "10.0.0.1:1", "[fe80::1]:1"} {
		if _, err := n.conn.WriteTo(ping, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))); !errors.Is(err, errAddress) {
			t.Errorf("a packet to %s: got %v, want %v", to, err, errAddress)
		}
	}
	if err := n.conn.writeDirect(ping, netip.MustParseAddrPort("127.0.0.1:1")); !errors.Is(err, errAddress) {
		t.Errorf("a direct message to loopback: got %v, want %v", err, errAddress)
	}
	if err := n.conn.writeDirect(ping, netip.MustParseAddrPort("192.168.1.7:1")); err != nil {
		t.Errorf("a direct message on the LAN: %v", err)
	}
}

func TestMainlineNodeIDsFollowFromAddresses(t *testing.T) {
	in := &memInternet{hosts: map[netip.AddrPort]*memSocket{}}
	at := netip.MustParseAddrPort("8.1.0.1:6881")
	first := mainlineNode(t, in, at, at.Addr())
	id := first.self
	_ = first.Close()
	again := mainlineNode(t, in, at, at.Addr())
	if again.self != id {
		t.Errorf("the same address gave two ids, %v and %v", id, again.self)
	}
	if got := again.cfg.Bootstrap; !slices.Equal(got, DefaultBootstrap()) {
		t.Errorf("bootstrap nodes %v, want the default", got)
	}
	if private := listen(t); private.cfg.Bootstrap != nil {
		t.Errorf("a private node has bootstrap nodes %v, want none", private.cfg.Bootstrap)
	}
}
