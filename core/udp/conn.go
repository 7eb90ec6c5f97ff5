package udp

import (
	"fmt"
	"net/netip"
)

// maxErrors in a row make a socket broken: then it is not a peer's refusal that it reports.
const maxErrors = 1000

// Options of a socket. The zero value leaves the kernel's defaults.
type Options struct {
	// RecvBuffer and SendBuffer are the socket's queues in bytes; the kernel may give less to an unprivileged process.
	RecvBuffer, SendBuffer int
	// Trains has the kernel hand over several datagrams of a sender at once, where it can.
	Trains bool
	// TOS has RecvBatch.TOS know.
	TOS bool
	// Errors has NextError know what came back by ICMP.
	Errors bool
	// Fragment sends without the bit that forbids IPv4 routers to cut datagrams.
	Fragment bool
}

// ICMPError is what came back for a datagram that was sent.
type ICMPError struct {
	Peer       netip.AddrPort // where the datagram should have gone; port 0 when this machine refused it and does not say
	Type, Code uint8          // of ICMP, or ICMPv6 when Peer has an IPv6 address
	MTU        uint32         // of the hop for which it was too long; else 0
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

// Listen binds one socket, which no other can share.
func Listen(addr netip.AddrPort, o Options) (*Conn, error) { return listen(addr, o, false) }

// LocalAddr returns the address the socket is bound to.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }

// wildcard says whether datagrams may arrive at several addresses.
func (c *Conn) wildcard() bool { return c.local.Addr().IsUnspecified() }

// Ready is a socket of a Poller that has something: datagrams, or errors for NextError.
type Ready struct {
	Owner  any // as Add had it
	Failed bool
}
