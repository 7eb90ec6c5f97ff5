package turn

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"traverse.internal/core/udp"
)

// Inherited is a listening socket that somebody else opened.
type Inherited struct {
	Transport string         // "udp", "tcp", "tls" or "dtls"
	Addr      netip.AddrPort // as Identify says
	// Kept says that an earlier run of this program opened it: it is used where the configuration has its address. Another
	// one, such as a .socket unit's, stands for itself: where there is one of a transport, the configuration's addresses of
	// that transport do not count.
	Kept bool
	File *os.File
}

// Identify returns what kind of a socket the file is, "udp" or "tcp", and where it listens.
func Identify(file *os.File) (transport string, at netip.AddrPort, err error) {
	if l, err := net.FileListener(file); err == nil {
		defer l.Close()
		if t, ok := l.Addr().(*net.TCPAddr); ok {
			return "tcp", unmapped(t.AddrPort()), nil
		}
	}
	if pc, err := net.FilePacketConn(file); err == nil {
		defer pc.Close()
		if u, ok := pc.LocalAddr().(*net.UDPAddr); ok {
			return "udp", unmapped(u.AddrPort()), nil
		}
	}
	return "", netip.AddrPort{}, fmt.Errorf("turn: %s is neither a UDP socket nor a listening TCP socket", file.Name())
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// instead returns the configuration with the addresses of sockets that stand for themselves.
func (c Config) instead() Config {
	for transport, list := range map[string]*[]netip.AddrPort{"udp": &c.ListenUDP, "tcp": &c.ListenTCP, "tls": &c.ListenTLS, "dtls": &c.ListenDTLS} {
		var own []netip.AddrPort
		for _, in := range c.Inherited {
			if in.Transport == transport && !in.Kept && !slices.Contains(own, in.Addr) {
				own = append(own, in.Addr)
			}
		}
		if len(own) > 0 {
			*list = own
		}
	}
	return c
}

// inherited takes the sockets of an address out of those that are left.
func (s *Server) inherited(transport string, at netip.AddrPort) (files []*os.File) {
	s.handed = slices.DeleteFunc(s.handed, func(in Inherited) bool {
		if in.Transport != transport || in.Addr != at {
			return false
		}
		files = append(files, in.File)
		return true
	})
	return files
}

// openUDP gives the sockets of an address: inherited ones, or new ones, one a shard.
func (s *Server) openUDP(transport string, at netip.AddrPort, o udp.Options) ([]*udp.Conn, error) {
	files := s.inherited(transport, at)
	if len(files) == 0 {
		return udp.ListenShards(at, len(s.shards), o)
	}
	for len(files) > len(s.shards) { // of a run with more cores; nobody would read it
		files[len(files)-1].Close()
		files = files[:len(files)-1]
	}
	return udp.AdoptShards(files, len(s.shards), o)
}

// adoptTCP gives the inherited listener of an address, or nil.
func (s *Server) adoptTCP(transport string, at netip.AddrPort) (*net.TCPListener, error) {
	files := s.inherited(transport, at)
	if len(files) == 0 {
		return nil, nil
	}
	for _, f := range files {
		defer f.Close() // FileListener has a copy
	}
	l, err := net.FileListener(files[0])
	if err != nil {
		return nil, fmt.Errorf("turn: inherit tcp %v: %w", at, err)
	}
	return l.(*net.TCPListener), nil // Identify has seen it
}

// Socket is one that the server listens on.
type Socket struct {
	Transport string // "udp", "tcp", "tls" or "dtls"
	Conn      syscall.Conn
}

// Sockets returns what the server listens on, for a service manager to keep over a restart.
func (s *Server) Sockets() []Socket {
	var out []Socket
	for _, sh := range s.shards {
		for _, l := range sh.listeners {
			transport := "udp"
			if l.secured != nil {
				transport = "dtls"
			}
			out = append(out, Socket{transport, l.conn})
		}
	}
	for _, l := range s.tcp {
		out = append(out, Socket{"tcp", l})
	}
	for _, l := range s.tls {
		out = append(out, Socket{"tls", l})
	}
	return out
}
