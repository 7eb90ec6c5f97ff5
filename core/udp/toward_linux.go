package udp

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Toward opens a second socket at the address of this one, connected to a peer. What that peer sends comes to it from then on,
// and what goes to that peer may leave by it, for less: the kernel keeps the way there, which it looks up for each datagram of
// an unconnected socket. What is sent by it goes to that peer, whatever the Route says. Everybody else's stays with c.
//
// Between the two system calls in which it is bound and connected, others' datagrams may come to it, too.
func (c *Conn) Toward(peer netip.AddrPort, o Options) (*Conn, error) {
	if !c.use() {
		return nil, net.ErrClosed
	}
	defer c.done()
	d, err := c.toward(peer, o)
	if err != nil {
		return nil, fmt.Errorf("udp: connect %v to %v: %w", c.local, peer, err)
	}
	return d, nil
}

func (c *Conn) toward(peer netip.AddrPort, o Options) (*Conn, error) {
	family := unix.AF_INET6
	if c.is4 {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	d := &Conn{local: c.local, peer: peer, is4: c.is4}
	d.fd = fd
	if !d.is4 {
		err = d.set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = d.prepare(o)
	}
	if err == nil {
		err = c.lend(d)
	}
	if err == nil {
		err = unix.Connect(fd, sockaddr(peer))
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// lend has d bind to this one's address. That takes a word of both, which they take back at once: no third one gets in, nobody
// else's program either.
func (c *Conn) lend(d *Conn) error {
	for _, one := range []*Conn{c, d} {
		if err := one.set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
		defer func() { _ = one.set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 0) }()
	}
	return unix.Bind(d.fd, sockaddr(c.local))
}

// MaxToward is how many sockets of Toward this process should have at once: an eighth of the descriptors that it may open.
func MaxToward() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(limit.Cur/8, mostToward))
}
