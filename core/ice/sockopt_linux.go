package ice

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// canShare says whether a connection can be dialled from a listener's port.
const canShare = true

// shareDial readies a socket, before bind, to be dialled from a listener's port.
func shareDial(_, _ string, c syscall.RawConn) error {
	return setReuse(c, unix.SO_REUSEADDR, unix.SO_REUSEPORT)
}

// shareListener lets later sockets of this user, ours, bind the listener's port. It comes after the bind, so that the bind
// itself fails when somebody else has the port, instead of sharing their connections in silence.
func shareListener(c syscall.RawConn) error { return setReuse(c, unix.SO_REUSEPORT) }

func setReuse(c syscall.RawConn, options ...int) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		for _, o := range options {
			if failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, o, 1); failed != nil {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return failed
}
