package udp

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// holdMillis is how long a Wait keeps its processor at most. Go's scheduler interrupts the call when it needs the processor
	// sooner; with GODEBUG=asyncpreemptoff=1 it waits as long.
	holdMillis = 5
	// holdPause is how many Waits there are at most without trying that again: at 50 datagrams a second one try takes place each second.
	holdPause = 64
)

// hold decides which Waits keep their processor. Other system calls that wait lend it to others: within 20 µs a thread of the
// scheduler's has noticed, taken it away and gone to sleep again, and who waited has to find another one. Where the next datagram comes
// 50 µs later that is four system calls of two threads for each, more than relaying it. Where none comes for holdMillis it is
// right: so a try in vain is followed by Waits without one, twice as many each time.
type hold struct {
	allowed bool
	millis  int // holdMillis
	rest    int // Waits before the next try
	pause   int // and how many there will be after a try in vain
}

// Hold allows Wait to keep its processor, the scheduler's right to run a goroutine, while datagrams come in close succession. It is for who has a
// processor to spare, GOMAXPROCS being more than the goroutines that do so. To be called before the first Wait.
func (p *Poller) Hold() { p.hold.allowed, p.hold.millis = true, holdMillis }

// next waits once.
func (p *Poller) next(events []unix.EpollEvent) (int, error) {
	h := &p.hold
	if !h.allowed {
		return unix.EpollWait(p.epoll.fd, events, -1)
	}
	if h.rest > 0 {
		h.rest--
		return unix.EpollWait(p.epoll.fd, events, -1)
	}
	p.stats.Holds.Add(1)
	n, errno := holdWait(p.epoll.fd, events, h.millis)
	switch {
	case errno != 0:
		return 0, errno
	case n > 0:
		h.pause = 0
	default:
		p.stats.Vain.Add(1)
		h.pause = min(max(1, 2*h.pause), holdPause)
		h.rest = h.pause
	}
	return n, nil
}

// holdWait is epoll_pwait of which the scheduler does not know. It must not be inlined: a call of it is where a goroutine that was
// interrupted gives its processor away.
//
//go:noinline
func holdWait(fd int, events []unix.EpollEvent, millis int) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(millis), 0, 0)
	return int(n), errno
}
