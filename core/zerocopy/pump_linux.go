package zerocopy

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pump moves bytes until src ends. The readiness of sockets comes from the runtime's poller; its callbacks run with the
// descriptor held, so a Close from outside is safe at any moment.
type pump struct {
	join *join
	flow *Flow
	want int // bytes that the next fill may take

	pipe   pipe
	piped  bool              // pipe is ours
	buffer *[bufferSize]byte // nil: none
	offset int               // in buffer of what is left
	left   int               // bytes taken and not yet delivered
	copies bool              // the kernel refuses to splice these sockets
	err    error             // of the last system call
}

func (j *join) pump(dst, src *net.TCPConn, flow *Flow, pace Pacer) error {
	in, err := src.SyscallConn()
	if err != nil {
		return sourceError{err}
	}
	out, err := dst.SyscallConn()
	if err != nil {
		return err
	}
	p := &pump{join: j, flow: flow}
	defer p.drop()
	fill, drain := p.fill, p.drain // one closure each, not one a move
	j.begin(dst, src)
	for {
		if p.want, err = j.allowed(pace, src, dst, pipeSize); err != nil {
			return err
		}
		if err := j.wait(in.Read, fill, src.SetReadDeadline); err != nil {
			return asSource(err)
		}
		if p.err != nil {
			return sourceError{p.err}
		}
		if p.left == 0 {
			return nil // FIN
		}
		if pace != nil {
			pace.Moved(p.left)
		}
		if err := j.wait(out.Write, drain, dst.SetWriteDeadline); err != nil {
			return err
		}
		if p.err != nil {
			return p.err
		}
		p.drop()
	}
}

// asSource marks an error of the reading side, unless it is ours.
func asSource(err error) error {
	if err == ErrIdle || err == errWoken || errors.Is(err, net.ErrClosed) {
		return err
	}
	return sourceError{err}
}

// wait runs try whenever the socket is ready until it is done, and moves deadlines that passed too early.
func (j *join) wait(on func(func(uintptr) bool) error, try func(uintptr) bool, set func(time.Time) error) error {
	for {
		err := on(try)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if err := j.expired(set); err != nil {
			return err
		}
	}
}

// fill takes what src has. While src has nothing it holds nothing.
func (p *pump) fill(fd uintptr) bool {
	for {
		p.left, p.err = p.take(int(fd))
		switch {
		case p.err == nil:
			return true
		case p.err == unix.EINTR:
			// again
		case p.err == unix.EINVAL && p.piped:
			p.copies = true
			totals.refused.Add(1)
			p.drop()
		default:
			p.drop()
			return p.err != unix.EAGAIN
		}
	}
}

// take reads into a pipe, or, when there is none, into a buffer.
func (p *pump) take(fd int) (int, error) {
	if !p.copies && !p.piped && p.buffer == nil {
		p.pipe, p.piped = pipes.get()
	}
	if p.piped {
		// The pipe is empty, so EAGAIN can only mean that the socket is.
		n, err := unix.Splice(fd, nil, p.pipe.w, nil, p.want, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		return max(0, int(n)), err
	}
	if p.buffer == nil {
		p.buffer = buffers.Get().(*[bufferSize]byte)
	}
	p.offset = 0
	n, err := unix.Read(fd, p.buffer[:min(p.want, bufferSize)])
	if n > 0 && !p.copies {
		totals.misses.Add(1)
	}
	return max(0, n), err
}

// drain gives dst what was taken.
func (p *pump) drain(fd uintptr) bool {
	for p.left > 0 {
		var n int
		n, p.err = p.give(int(fd))
		switch {
		case p.err == nil && n > 0:
			p.left -= n
			p.join.touch()
		case p.err == nil:
			p.err = unix.EPIPE // cannot happen; a loop would be worse
			return true
		case p.err == unix.EINTR:
			// again
		case p.err == unix.EAGAIN:
			return false
		default:
			return true
		}
	}
	return true
}

func (p *pump) give(fd int) (int, error) {
	if p.piped {
		n, err := unix.Splice(p.pipe.r, nil, fd, nil, p.left, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if n > 0 {
			p.flow.spliced(int(n))
		}
		return int(n), err
	}
	n, err := unix.Write(fd, p.buffer[p.offset:p.offset+p.left])
	if n > 0 {
		p.offset += n
		p.flow.copied(n)
	}
	return n, err
}

// drop gives back what the pump holds.
func (p *pump) drop() {
	if p.piped {
		if p.left > 0 {
			pipes.discard(p.pipe)
		} else {
			pipes.put(p.pipe)
		}
		p.piped = false
	}
	if p.buffer != nil {
		buffers.Put(p.buffer)
		p.buffer = nil
	}
}

// settle waits until everything sent on c is acknowledged, or settleTime is over.
func settle(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	end := time.Now().Add(settleTime)
	for pause := time.Millisecond; time.Now().Before(end); pause = min(2*pause, 50*time.Millisecond) {
		waits := false
		if err := raw.Control(func(fd uintptr) { waits = unacknowledged(int(fd)) }); err != nil || !waits {
			return
		}
		time.Sleep(pause)
	}
}

// unacknowledged says whether sent bytes are on their way. A connection that was reset still counts what it never sent.
func unacknowledged(fd int) bool {
	const closed = 7 // TCP_CLOSE
	if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err != nil || info.State == closed {
		return false
	}
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	return err == nil && n > 0
}
