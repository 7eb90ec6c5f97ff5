package turn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"traverse.internal/core/udp"
	"traverse.internal/turn/alloc"
)

// socketBuffer of a UDP listener: a burst of 1,000 full packets, and 50 ms at 600 Mbit/s.
const socketBuffer = 4 << 20

// listen opens every listening socket.
func (s *Server) listen() error {
	for _, group := range expand(s.config.ListenUDP) {
		if err := eachOf(group, func(at netip.AddrPort) error { return s.listenUDP("udp", at) }); err != nil {
			return err
		}
	}
	if err := s.listenOthers(); err != nil {
		return err
	}
	for _, group := range expand(s.config.ListenTCP) {
		if err := eachOf(group, func(at netip.AddrPort) error { return s.listenTCP("tcp", at, &s.tcp) }); err != nil {
			return err
		}
	}
	if len(s.config.ListenTLS)+len(s.config.ListenDTLS) == 0 {
		return nil
	}
	s.cert = newCertificate(s.config)
	if err := s.cert.load(); err != nil {
		return err
	}
	for _, group := range expand(s.config.ListenDTLS) {
		if err := eachOf(group, s.listenDTLS); err != nil {
			return err
		}
	}
	for _, group := range expand(s.config.ListenTLS) {
		if err := eachOf(group, func(at netip.AddrPort) error { return s.listenTCP("tls", at, &s.tls) }); err != nil {
			return err
		}
	}
	return nil
}

// expand turns a port without an address into one address of each family.
func expand(addrs []netip.AddrPort) [][]netip.AddrPort {
	groups := make([][]netip.AddrPort, 0, len(addrs))
	for _, a := range addrs {
		if a.Addr().IsValid() {
			groups = append(groups, []netip.AddrPort{netip.AddrPortFrom(a.Addr().Unmap(), a.Port())})
			continue
		}
		groups = append(groups, []netip.AddrPort{
			netip.AddrPortFrom(netip.IPv4Unspecified(), a.Port()),
			netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port()),
		})
	}
	return groups
}

// eachOf opens all of a group. A machine may lack one family of a group of two.
func eachOf(group []netip.AddrPort, open func(netip.AddrPort) error) error {
	var missing error
	for _, a := range group {
		err := open(a)
		if errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL) {
			if missing == nil && len(group) > 1 {
				missing = err
				continue
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// listenUDP gives every shard a socket of the address, for a transport: UDP or DTLS.
func (s *Server) listenUDP(transport string, addr netip.AddrPort) error {
	conns, err := s.openUDP(transport, addr, udp.Options{
		RecvBuffer: socketBuffer, SendBuffer: socketBuffer, Trains: true, TOS: true,
	})
	if err != nil {
		return fmt.Errorf("turn: listen on %s %v: %w", transport, addr, err)
	}
	for i, conn := range conns {
		sh := s.shards[i]
		sh.listeners = append(sh.listeners, &listener{
			shard: sh, conn: conn, local: conn.LocalAddr(), out: udp.NewSendBatch(&sh.stats.io),
		})
	}
	return nil
}

func (s *Server) listenTCP(transport string, addr netip.AddrPort, into *[]*net.TCPListener) error {
	switch l, err := s.adoptTCP(transport, addr); {
	case err != nil:
		return err
	case l != nil:
		*into = append(*into, l)
		return nil
	}
	network := "tcp6" // which also sets IPV6_V6ONLY
	if addr.Addr().Is4() {
		network = "tcp4"
	}
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), network, addr.String())
	if err != nil {
		return fmt.Errorf("turn: listen on tcp %v: %w", addr, err)
	}
	*into = append(*into, l.(*net.TCPListener))
	return nil
}

// acceptStreams takes clients' connections over a transport, TCP or TLS, until the listener is closed.
func (s *Server) acceptStreams(l *net.TCPListener, transport alloc.Transport) error {
	for {
		conn, err := accept(s.ctx, l)
		if err != nil {
			return err
		}
		client := addrPortOf(conn.RemoteAddr())
		if within(s.config.ProxyFrom, client.Addr()) {
			s.tasks.Go(func() { s.takeProxied(conn, transport) })
			continue
		}
		st, ok := s.newStream(conn, client, transport)
		if !ok {
			refuse(conn)
			continue
		}
		s.tasks.Go(st.serve)
	}
}

// accept waits for a connection, and through what passes: too many open files, connections that were gone at once.
func accept(ctx context.Context, l *net.TCPListener) (*net.TCPConn, error) {
	for {
		conn, err := l.AcceptTCP()
		var soft interface{ Temporary() bool }
		if err == nil || !errors.As(err, &soft) || !soft.Temporary() {
			return conn, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, net.ErrClosed
		}
	}
}

// refuse closes with a reset: the other side learns at once, and nothing of it stays here.
func refuse(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}
