package udp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// maxErrors in a row end a Recv: then it is the socket that is broken, not a peer.
const maxErrors = 1000

// Options of a socket. The zero value leaves the kernel's defaults.
type Options struct {
	// RecvBuffer and SendBuffer are the socket's queues in bytes; the kernel may give less to an unprivileged process.
	RecvBuffer, SendBuffer int
}

// Conn is an unconnected UDP socket. Close may be called at any time, by anyone; the other methods say so themselves.
type Conn struct {
	udp   *net.UDPConn
	raw   syscall.RawConn
	local netip.AddrPort
	recv  receiver
}

// Listen binds one socket, which no other can share.
func Listen(addr netip.AddrPort, o Options) (*Conn, error) {
	return listen(addr, o, false)
}

// ListenShards binds n sockets to one address, where the system can spread senders over them, and otherwise one. Port 0
// is the same free port for all.
func ListenShards(addr netip.AddrPort, n int, o Options) ([]*Conn, error) {
	first, err := Listen(addr, o)
	if err != nil {
		return nil, err
	}
	conns := []*Conn{first}
	if n < 2 || !canShare {
		return conns, nil
	}
	if err := first.share(); err != nil {
		first.Close()
		return nil, fmt.Errorf("udp: share %v: %w", addr, err)
	}
	for len(conns) < n {
		c, err := listen(first.local, o, true)
		if err != nil {
			for _, c := range conns {
				c.Close()
			}
			return nil, err
		}
		conns = append(conns, c)
	}
	return conns, nil
}

func listen(addr netip.AddrPort, o Options, shared bool) (*Conn, error) {
	network := "udp6" // which also sets IPV6_V6ONLY
	if addr.Addr().Is4() {
		network = "udp4"
	}
	var config net.ListenConfig
	if shared {
		config.Control = shareControl
	}
	pc, err := config.ListenPacket(context.Background(), network, addr.String())
	if err != nil {
		return nil, fmt.Errorf("udp: %w", err)
	}
	c := &Conn{udp: pc.(*net.UDPConn)}
	c.local = c.udp.LocalAddr().(*net.UDPAddr).AddrPort()
	if c.raw, err = c.udp.SyscallConn(); err == nil {
		err = c.prepare()
	}
	if err != nil {
		pc.Close()
		return nil, fmt.Errorf("udp: listen %v: %w", addr, err)
	}
	// Refusals are not failures: the kernel's own size is a working one.
	if o.RecvBuffer > 0 {
		_ = c.udp.SetReadBuffer(o.RecvBuffer)
	}
	if o.SendBuffer > 0 {
		_ = c.udp.SetWriteBuffer(o.SendBuffer)
	}
	return c, nil
}

// LocalAddr returns the address the socket is bound to.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }

// Close ends a waiting Recv with net.ErrClosed.
func (c *Conn) Close() error { return c.udp.Close() }

// wildcard says whether datagrams may arrive at several addresses.
func (c *Conn) wildcard() bool { return c.local.Addr().IsUnspecified() }
