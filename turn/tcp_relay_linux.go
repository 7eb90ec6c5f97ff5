package turn

import (
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerBacklog of connections that wait to be accepted.
const peerBacklog = 64

// boundSocket has a TCP port and does not listen on it.
type boundSocket struct {
	fd int // -1: gone
}

// bindTCP binds the port for us alone, and then lets our own connections leave from it while it listens.
func bindTCP(at netip.AddrPort) (*boundSocket, error) {
	family, addr := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()})
	if at.Addr().Is4() {
		family, addr = unix.AF_INET, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if family == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = unix.Bind(fd, addr)
	}
	if err == nil {
		err = reuse(fd)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return &boundSocket{fd: fd}, nil
}

// reuse lets several sockets of this process have one address: the listener and what was dialled from it.
func reuse(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

// listen makes a listener of the socket, which is then the listener's.
func (b *boundSocket) listen() (*net.TCPListener, error) {
	if err := unix.Listen(b.fd, peerBacklog); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	f := os.NewFile(uintptr(b.fd), "relayed address")
	b.fd = -1
	defer f.Close()
	l, err := net.FileListener(f) // has a descriptor of its own
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

func (b *boundSocket) close() {
	if b.fd >= 0 {
		_ = unix.Close(b.fd)
		b.fd = -1
	}
}

// dialControl runs before a dialled socket is bound to a relayed address.
func dialControl(_, _ string, raw syscall.RawConn) error {
	var err error
	if e := raw.Control(func(fd uintptr) { err = reuse(int(fd)) }); e != nil {
		return e
	}
	return err
}
