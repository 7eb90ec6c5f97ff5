package zerocopy

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of a pump never wait, so they go past the scheduler (RawSyscall): telling it of each would have it wake its monitor
// thread for every move of a connection that was quiet, and take the processor away from a long one.

// splice moves at most n bytes. It returns EAGAIN when there are none, or no room.
func splice(from, to, n int) (int, error) {
	moved, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	return result(moved, errno)
}

// read and write are those of non-blocking descriptors; p is not empty.
func read(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return result(n, errno)
}

func write(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return result(n, errno)
}

func result(n uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
