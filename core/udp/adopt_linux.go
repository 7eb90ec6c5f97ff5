package udp

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// adopt makes a Conn of a copy of a socket that is bound already.
func adopt(file *os.File, o Options) (*Conn, error) {
	fail := func(fd int, err error) (*Conn, error) {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, fmt.Errorf("udp: adopt %s: %w", file.Name(), err)
	}
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fail(-1, err)
	}
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_DGRAM {
		return fail(fd, unix.ESOCKTNOSUPPORT)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return fail(fd, err)
	}
	local, err := localAddr(fd, "")
	if err != nil {
		return fail(fd, err)
	}
	c := &Conn{local: local, is4: local.Addr().Is4()}
	c.fd = fd
	if err := c.prepare(o); err != nil {
		c.Close()
		return fail(-1, err)
	}
	return c, nil
}

// SyscallConn gives the socket to who wants to hand a copy of it on. Only Control does something.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return rawConn{c}, nil }

type rawConn struct{ c *Conn }

func (r rawConn) Control(f func(fd uintptr)) error {
	if !r.c.use() {
		return net.ErrClosed
	}
	defer r.c.done()
	f(uintptr(r.c.fd))
	return nil
}

func (rawConn) Read(func(uintptr) bool) error  { return unix.ENOTSUP }
func (rawConn) Write(func(uintptr) bool) error { return unix.ENOTSUP }
