package udp

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

const canShare = true

// Conn is a UDP socket that never waits, unconnected but where Toward made it. Close may be called at any time, by anyone;
// the other methods say so themselves.
type Conn struct {
	descriptor
	local    netip.AddrPort
	peer     netip.AddrPort // of Toward; the zero value: anybody
	is4      bool
	failures int // of Recv in a row
	whole    atomic.Bool
	watched  atomic.Pointer[watched]
}

func listen(addr netip.AddrPort, o Options, shared bool) (*Conn, error) {
	c, err := open(addr, o, shared)
	if err != nil {
		return nil, fmt.Errorf("udp: listen %v: %w", addr, err)
	}
	return c, nil
}

func open(addr netip.AddrPort, o Options, shared bool) (*Conn, error) {
	family := unix.AF_INET6
	if addr.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	c := &Conn{is4: addr.Addr().Is4()}
	c.fd = fd
	if shared {
		err = c.share()
	}
	if err == nil && !c.is4 {
		err = c.set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = unix.Bind(fd, sockaddr(addr))
	}
	if err == nil {
		c.local, err = localAddr(fd, addr.Addr().Zone())
	}
	if err == nil {
		err = c.prepare(o)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// sockaddr is for the calls that are not worth doing by hand.
func sockaddr(addr netip.AddrPort) unix.Sockaddr {
	if addr.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16(), ZoneId: zoneID(addr.Addr().Zone())}
}

func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	return 0
}

func localAddr(fd int, zone string) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).WithZone(zone), uint16(sa.Port)), nil
	}
	return netip.AddrPort{}, err
}

func (c *Conn) set(level, option, value int) error {
	return unix.SetsockoptInt(c.fd, level, option, value)
}

// setEither sets the option of the socket's family.
func (c *Conn) setEither(option4, option6, value int) error {
	if c.is4 {
		return c.set(unix.IPPROTO_IP, option4, value)
	}
	return c.set(unix.IPPROTO_IPV6, option6, value)
}

// share lets further sockets bind to the address of this one.
func (c *Conn) share() error { return c.set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }

// prepare sets the options.
func (c *Conn) prepare(o Options) error {
	if c.wildcard() { // then the arrival address is not known otherwise
		if err := c.setEither(unix.IP_PKTINFO, unix.IPV6_RECVPKTINFO, 1); err != nil {
			return err
		}
	}
	if o.TOS {
		if err := c.setEither(unix.IP_RECVTOS, unix.IPV6_RECVTCLASS, 1); err != nil {
			return err
		}
	}
	if o.Errors {
		if err := c.setEither(unix.IP_RECVERR, unix.IPV6_RECVERR, 1); err != nil {
			return err
		}
	}
	if o.Fragment && c.is4 { // in IPv6 only the sender cuts, and it has to know how short
		if err := c.set(unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT); err != nil {
			return err
		}
	}
	// Refusals of the rest are not failures: the kernel's own size is a working one, and so is one datagram at a time.
	if o.Trains && trains() {
		_ = c.set(unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	}
	if o.RecvBuffer > 0 {
		_ = c.set(unix.SOL_SOCKET, unix.SO_RCVBUF, o.RecvBuffer)
	}
	if o.SendBuffer > 0 {
		_ = c.set(unix.SOL_SOCKET, unix.SO_SNDBUF, o.SendBuffer)
	}
	return nil
}

// Close ends the socket. Whoever uses it at the moment ends that first.
func (c *Conn) Close() error {
	if c.close() {
		if w := c.watched.Load(); w != nil {
			w.poller.forget(w.token)
		}
	}
	return nil
}

// KeepsWhole says that KeepWhole has an effect.
const KeepsWhole = true

// KeepWhole forbids routers and this machine to cut what is sent from now on, or allows it again: IPv4's DF. What is too
// long is then dropped as too big, and NextError knows the length. To be called between Sends; it costs a system call when
// something changes. Not for concurrent use with Send.
func (c *Conn) KeepWhole(whole bool) {
	if c.whole.Load() == whole || !c.use() {
		return
	}
	defer c.done()
	c.whole.Store(whole)
	option4, option6 := unix.IP_PMTUDISC_DONT, unix.IPV6_PMTUDISC_WANT
	if whole {
		option4, option6 = unix.IP_PMTUDISC_DO, unix.IPV6_PMTUDISC_DO
	}
	if c.is4 {
		_ = c.set(unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, option4)
	} else {
		_ = c.set(unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, option6)
	}
}

// failed decides about an error of Recv: most are about an earlier Send, such as a peer's refusal, and say nothing about
// this socket.
func (c *Conn) failed(errno syscall.Errno) error {
	if c.failures++; c.failures < maxErrors {
		return nil
	}
	return fmt.Errorf("udp: receive on %v: %w", c.local, errno)
}
