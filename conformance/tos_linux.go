package conformance

import (
	"encoding/binary"
	"net"
	"syscall"
	"time"
)

// raw runs a function on the socket.
func raw(conn syscall.Conn, do func(fd int) error) error {
	sc, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := sc.Control(func(fd uintptr) { inner = do(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// setTOS sets the byte of DSCP and ECN of what the client sends.
func (c *client) setTOS(value int) error {
	var bare any = c.conn
	if secured, ok := bare.(interface{ NetConn() net.Conn }); ok {
		bare = secured.NetConn()
	}
	conn, ok := bare.(syscall.Conn)
	if !ok {
		return syscall.ENOTSUP
	}
	is4 := c.local().Addr().Is4()
	return raw(conn, func(fd int) error {
		if is4 {
			return syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, syscall.IP_TOS, value)
		}
		return syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_TCLASS, value)
	})
}

// wantTOS has the kernel tell the byte of what the peer receives.
func (u *udpPeer) wantTOS() error {
	return raw(u.conn, func(fd int) error {
		if u.addr.Addr().Is4() {
			return syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, syscall.IP_RECVTOS, 1)
		}
		return syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_RECVTCLASS, 1)
	})
}

// recvTOS receives a datagram and returns its byte.
func (u *udpPeer) recvTOS(wait time.Duration) (int, error) {
	var data [1 << 12]byte
	var control [256]byte
	_ = u.conn.SetReadDeadline(time.Now().Add(wait))
	_, n, _, _, err := u.conn.ReadMsgUDPAddrPort(data[:], control[:])
	if err != nil {
		return 0, err
	}
	messages, err := syscall.ParseSocketControlMessage(control[:n])
	if err != nil {
		return 0, err
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == syscall.IPPROTO_IP && m.Header.Type == syscall.IP_TOS && len(m.Data) >= 1:
			return int(m.Data[0]), nil
		case m.Header.Level == syscall.IPPROTO_IPV6 && m.Header.Type == syscall.IPV6_TCLASS && len(m.Data) >= 4:
			return int(binary.NativeEndian.Uint32(m.Data)), nil
		}
	}
	return 0, syscall.ENODATA
}

// shrinkBacklog lets only one connection wait to be accepted, so that the next SYN is not answered.
func shrinkBacklog(l *net.TCPListener) error {
	return raw(l, func(fd int) error { return syscall.Listen(fd, 0) })
}
