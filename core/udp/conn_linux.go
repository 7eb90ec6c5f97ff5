package udp

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const canShare = true

// mmsghdr is struct mmsghdr of recvmmsg(2); Go's alignment gives it the padding that C does.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// receiver is the state of a Recv. It lives in the Conn, so that waiting allocates nothing.
type receiver struct {
	pool  *Pool
	batch *RecvBatch
	errno syscall.Errno
	try   func(fd uintptr) bool // bound once
}

// shareControl runs before bind.
func shareControl(_, _ string, raw syscall.RawConn) error { return setShared(raw) }

// share lets further sockets bind to the address of this one.
func (c *Conn) share() error { return setShared(c.raw) }

func setShared(raw syscall.RawConn) error {
	var err error
	if e := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); e != nil {
		return e
	}
	return err
}

// prepare binds the callback and asks for arrival addresses where they are not known.
func (c *Conn) prepare() error {
	c.recv.try = c.tryRecv
	if !c.wildcard() {
		return nil
	}
	level, option := unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	if c.local.Addr().Is4() {
		level, option = unix.IPPROTO_IP, unix.IP_PKTINFO
	}
	var err error
	if e := c.raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) }); e != nil {
		return e
	}
	return err
}

// Recv waits for datagrams and returns them in a batch of the pool, which the caller puts back. One goroutine at a time.
func (c *Conn) Recv(pool *Pool) (*RecvBatch, error) {
	r := &c.recv
	for range maxErrors {
		r.pool, r.errno = pool, 0
		err := c.raw.Read(r.try)
		batch := r.batch
		r.batch = nil
		if err != nil {
			return nil, err
		}
		if r.errno == 0 {
			return batch, nil
		}
		// An error of an earlier send, such as a peer's refusal: it says nothing about this socket.
	}
	return nil, fmt.Errorf("udp: receive on %v: %w", c.local, r.errno)
}

// tryRecv runs when the socket may be readable. While it is not, it holds no batch.
func (c *Conn) tryRecv(fd uintptr) bool {
	r := &c.recv
	b := r.pool.get()
	b.reset()
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.hdrs[0])), BatchLen, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			b.n = int(n)
			r.batch = b
			return true
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			r.pool.Put(b)
			return false
		default:
			r.pool.Put(b)
			r.errno = errno
			return true
		}
	}
}

// Send gives the batch to the kernel, empties it, and returns how many datagrams were dropped: because the socket's
// queue was full, or because the kernel refused that one. It never waits. Safe for concurrent use with different batches.
func (c *Conn) Send(b *SendBatch) (dropped int) {
	b.dropped = 0
	if b.n > 0 {
		if err := c.raw.Control(b.try); err != nil {
			b.dropped = b.n
		}
		b.n = 0
	}
	return b.dropped
}

func (b *SendBatch) trySend(fd uintptr) {
	for done := 0; done < b.n; {
		// MSG_DONTWAIT: the call cannot block, so the scheduler need not know of it.
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.hdrs[done])), uintptr(b.n-done), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			done += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			b.dropped += b.n - done
			return
		default: // about the first datagram only
			b.dropped++
			done++
		}
	}
}
