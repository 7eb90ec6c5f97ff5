package sdnotify

import (
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
