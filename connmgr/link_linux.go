package connmgr

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// userTimeout is how long written bytes may stay unacknowledged before the kernel gives the connection up. Liveness is the
// mux's beacon (30 s idle and 3 s to answer); this finds a dead path under a writer sooner than TCP's 15 minutes.
const userTimeout = 20 * time.Second

// unsent is how many bytes may wait in the kernel that have never been sent. What waits there goes before whatever comes later,
// however urgent; without a limit it is megabytes, a second of a slow link. What the path has room for is sent at once and
// does not wait, so that a fast one is no slower.
const unsent = 16 << 10

func tune(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent)
	})
}
