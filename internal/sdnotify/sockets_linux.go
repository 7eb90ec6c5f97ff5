package sdnotify

import (
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

func closeOnExec(fd int) { unix.CloseOnExec(fd) }

func rights(fd int) []byte { return unix.UnixRights(fd) }

// monotonic is CLOCK_MONOTONIC in microseconds, by which systemd orders reloads.
func monotonic() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return ts.Nano() / int64(time.Microsecond)
}

// inode tells sockets apart.
func inode(fd int) string {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return "0"
	}
	return strconv.FormatUint(st.Ino, 10)
}

// sendBeside sends a datagram with what goes beside it. It waits at most for the connection's deadline.
func sendBeside(c *net.UnixConn, text, oob []byte) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), text, oob, nil, unix.MSG_NOSIGNAL)
		return sent != unix.EAGAIN
	})
	if err != nil {
		return err
	}
	return sent
}
