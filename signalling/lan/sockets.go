package lan

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/time/rate"
)

// The groups of multicast DNS, RFC 6762 §3.
var (
	group4 = netip.MustParseAddrPort("224.0.0.251:5353")
	group6 = netip.MustParseAddrPort("[ff02::fb]:5353")
)

// Limits. A neighbour that sends more than this is not read any faster: the kernel drops the rest at its queue, and reading,
// which is 5 to 10 us of work each, takes 1 to 2 % of a core per socket.
const (
	maxInterfaces = 16
	heardRate     = 2000 // datagrams a second that are read from one socket
	heardBurst    = 4000
	heardPause    = 50 * time.Millisecond // that the socket is left alone then
)

// sockets are one of our own per family, for everything but what comes by multicast, and one per group and interface for that.
type sockets struct {
	own []*net.UDPConn // IPv4, IPv6, as far as there is such
	v4  *ipv4.PacketConn

	paused *atomic.Uint64

	mu     sync.Mutex // guards the fields below
	joined map[joint]*net.UDPConn
	wg     sync.WaitGroup
}

// joint is an interface at which we are in a group.
type joint struct {
	index int
	v6    bool
}

func openSockets() (*sockets, error) {
	s := &sockets{joined: map[joint]*net.UDPConn{}}
	c4, err := net.ListenUDP("udp4", nil)
	if err == nil {
		s.own, s.v4 = append(s.own, c4), ipv4.NewPacketConn(c4)
	}
	c6, err6 := net.ListenUDP("udp6", nil)
	if err6 == nil {
		s.own = append(s.own, c6)
	}
	if len(s.own) == 0 {
		return nil, err
	}
	return s, nil
}

func (s *sockets) close() {
	s.leave()
	for _, c := range s.own {
		_ = c.Close()
	}
}

// of returns our socket of an address' family, or nil.
func (s *sockets) of(a netip.Addr) *net.UDPConn {
	for _, c := range s.own {
		if c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Is4() == a.Unmap().Is4() {
			return c
		}
	}
	return nil
}

func (s *sockets) port(a netip.Addr) uint16 {
	c := s.of(a)
	if c == nil {
		return 0
	}
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// write sends a datagram; one that is lost is sent again by who waits for its answer.
func (s *sockets) write(b []byte, to netip.AddrPort) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if c := s.of(to.Addr()); c != nil {
		_, _ = c.WriteToUDPAddrPort(b, to)
	}
}

// multicast sends to the groups of both families, at every interface.
func (s *sockets) multicast(b []byte) {
	for _, i := range interfaces() {
		if s.v4 != nil {
			_, _ = s.v4.WriteTo(b, &ipv4.ControlMessage{IfIndex: i.Index}, net.UDPAddrFromAddrPort(group4))
		}
		s.write(b, netip.AddrPortFrom(group6.Addr().WithZone(i.Name), group6.Port()))
	}
}

// reader is a socket.
type reader interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
}

// read hands what comes to a socket to take, until the socket is closed.
func (s *sockets) read(c reader, take func(netip.AddrPort, []byte)) {
	b := make([]byte, maxDatagram+1)
	limit := rate.NewLimiter(heardRate, heardBurst)
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		if !limit.Allow() {
			s.paused.Add(1)
			time.Sleep(heardPause)
		}
		take(netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), b[:n])
	}
}

// interfaces are those of links with neighbours.
func interfaces() []net.Interface {
	all, _ := net.Interfaces() // without the list there is no link
	var out []net.Interface
	for _, i := range all {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagMulticast != 0 && i.Flags&net.FlagLoopback == 0 && len(out) < maxInterfaces {
			out = append(out, i)
		}
	}
	return out
}

// join joins the groups at interfaces that are new, and leaves those that are gone.
func (s *sockets) join(take func(netip.AddrPort, []byte)) {
	now := map[joint]bool{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range interfaces() {
		for _, g := range []netip.AddrPort{group4, group6} {
			j := joint{i.Index, g.Addr().Is6()}
			now[j] = true
			if s.joined[j] != nil {
				continue
			}
			network := "udp4"
			if j.v6 {
				network = "udp6"
			}
			c, err := net.ListenMulticastUDP(network, &i, net.UDPAddrFromAddrPort(g))
			if err != nil {
				continue // no address of that family there, or the port is somebody's who does not share
			}
			s.joined[j] = c
			s.wg.Go(func() { s.read(c, take) })
		}
	}
	for j, c := range s.joined {
		if !now[j] {
			_ = c.Close()
			delete(s.joined, j)
		}
	}
}

// leave leaves all groups.
func (s *sockets) leave() {
	s.mu.Lock()
	for j, c := range s.joined {
		_ = c.Close()
		delete(s.joined, j)
	}
	s.mu.Unlock()
	s.wg.Wait()
}
