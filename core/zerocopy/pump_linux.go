package zerocopy

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// movesInARow is how often a pump moves before it lets others have a look: whether its connections were closed, or the
	// Join is over.
	movesInARow = 16
	// pipeBuffers is how many buffers the bytes of a full pipe take.
	pipeBuffers = pipeSize / bufferSize
)

// next is what a pump does when it stops moving.
type next uint8

const (
	goOn    next = iota // moves again
	deliver             // waits for dst, which did not take all
	save                // waits for its pacer
	ask                 // has the record layer say what comes
	end                 // the stream is over, or broken: err
)

// pump moves bytes until src ends. The readiness of sockets comes from the runtime's poller; its callbacks run with the
// descriptor held, so a Close from outside is safe at any moment.
type pump struct {
	join     *join
	flow     *Flow
	pace     Pacer
	layer    Layer // of src
	onto     Layer // of dst
	src, dst *net.TCPConn
	in, out  syscall.RawConn
	todo     next
	copies   bool   // the kernel refuses to splice these sockets
	err      error  // of the last system call
	srcFault bool   // err is src's
	calls    uint64 // since drop

	mu      sync.Mutex // guards the fields below while stalled is true; otherwise they are the pump's own
	stalled bool       // waits for dst with bytes in its pipe
	pipe    pipe
	piped   bool                           // pipe is ours
	buffers [pipeBuffers]*[bufferSize]byte // nil: none. Copies use the first
	rescued bool                           // the buffers have what was in a pipe
	offset  int                            // in the buffers, as if they were one, of what is left
	left    int                            // bytes taken and not yet delivered
}

func (j *join) pump(dst, src *net.TCPConn, way *way) error {
	p := &pump{join: j, flow: way.flow, pace: way.pace, layer: way.layer, onto: way.onto, src: src, dst: dst}
	var err error
	if p.in, err = src.SyscallConn(); err != nil {
		return sourceError{err}
	}
	if p.out, err = dst.SyscallConn(); err != nil {
		return err
	}
	defer p.drop()
	move, drain := p.move, p.drainLocked // one closure each, not one a move
	j.begin(dst, src)
	for {
		p.todo = goOn
		if err := j.wait(p.in.Read, move, src.SetReadDeadline); err != nil {
			return asSource(err)
		}
		if p.todo == ask {
			if err := p.askLayer(); err != nil {
				return err
			}
		}
		if p.todo == deliver {
			if err := p.stall(drain); err != nil {
				return err
			}
		}
		switch {
		case p.err != nil && p.srcFault:
			return sourceError{p.err}
		case p.err != nil:
			return p.err
		case p.todo == end:
			return nil // FIN
		case p.todo == save:
			if err := j.sleep(src, dst); err != nil {
				return err
			}
		}
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

// move takes what src has and gives it to dst, for as long as both are ready: in the usual case nobody is woken between. It
// returns false when src has nothing; then it holds nothing.
func (p *pump) move(fd uintptr) bool {
	for range movesInARow {
		p.todo = goOn
		if !p.fill(int(fd)) {
			return false
		}
		if p.todo != goOn {
			return true
		}
		if p.todo = deliver; !p.drain() {
			return true
		}
		if p.todo = goOn; p.err != nil {
			return true
		}
	}
	p.drop()
	return true
}

// fill takes what src has. False: nothing.
func (p *pump) fill(fd int) bool {
	for {
		want := pipeSize
		if p.pace != nil {
			if want = p.pace.Take(want); want == 0 {
				p.drop()
				p.todo = save
				return true
			}
		}
		n, err := p.take(fd, want)
		if p.pace != nil && n < want {
			p.pace.Return(want - n)
		}
		switch {
		case n > 0:
			p.left = n
			return true
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			p.drop()
			return false
		case p.layer != nil:
			// No bytes, or EINVAL before a record that is not data: only reading tells which.
			p.drop()
			p.todo = ask
			return true
		case err == unix.EINVAL && p.piped:
			p.copies = true
			totals.refused.Add(1)
			p.drop()
		default:
			p.drop()
			p.todo, p.err, p.srcFault = end, err, true
			return true
		}
	}
}

// take reads into a pipe, or, when there is none, into a buffer.
func (p *pump) take(fd, want int) (int, error) {
	p.calls++
	if !p.copies && !p.piped && p.buffers[0] == nil {
		p.pipe, p.piped = pipes.get()
	}
	if p.piped {
		return splice(fd, p.pipe.w, want) // the pipe is empty, so EAGAIN can only mean that the socket is
	}
	if p.layer != nil { // read would not say what it read
		return 0, unix.EINVAL
	}
	n, err := read(fd, p.buffer()[:min(want, bufferSize)])
	if n > 0 && !p.copies {
		totals.misses.Add(1)
	}
	return n, err
}

// buffer returns the first one, from its beginning.
func (p *pump) buffer() *[bufferSize]byte {
	if p.buffers[0] == nil {
		p.buffers[0] = buffers.Get().(*[bufferSize]byte)
	}
	p.offset = 0
	return p.buffers[0]
}

// askLayer reads what splice did not take, and pays for it if it is data.
func (p *pump) askLayer() error {
	n, err := p.layer.Read(p.buffer()[:])
	for errors.Is(err, os.ErrDeadlineExceeded) {
		if err := p.join.expired(p.src.SetReadDeadline); err != nil {
			return err
		}
		n, err = p.layer.Read(p.buffer()[:])
	}
	for paid := 0; p.pace != nil && paid < n; {
		k := p.pace.Take(n - paid)
		if paid += k; k > 0 {
			continue
		}
		if err := p.join.sleep(p.src, p.dst); err != nil {
			return err
		}
	}
	switch {
	case n > 0:
		p.left, p.todo = n, deliver
	case err == io.EOF:
		p.todo = end
	default:
		return asSource(err)
	}
	return nil
}

// drain gives dst what was taken, and says whether it took all, or failed. Between two waits it needs no readiness: who waits
// afterwards tries again first.
func (p *pump) drain() bool {
	done := true
	if err := p.out.Control(func(fd uintptr) { done = p.give(int(fd)) }); err != nil {
		p.err = err
		return true
	}
	return done
}

// stall waits until dst has taken all. Meanwhile the pipe is for others to have, when they need one.
func (p *pump) stall(drain func(uintptr) bool) error {
	p.mu.Lock()
	p.stalled = true
	p.mu.Unlock()
	if p.piped {
		pipes.stall(p)
	}
	err := p.join.wait(p.out.Write, drain, p.dst.SetWriteDeadline)
	pipes.resume(p)
	p.mu.Lock()
	p.stalled = false
	p.mu.Unlock()
	if err == nil && p.err == nil {
		p.drop()
	}
	return err
}

// drainLocked is drain for who waits for dst. It takes the lock.
func (p *pump) drainLocked(fd uintptr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.give(int(fd))
}

// give writes what is left, and says whether there is no use in waiting: all is written, or err is set.
func (p *pump) give(fd int) bool {
	for p.left > 0 && p.err == nil {
		n, err := p.giveSome(fd)
		switch {
		case err == nil && n > 0:
			p.left -= n
			p.join.touch()
			if p.onto != nil {
				if p.err = p.onto.Sealed(n); p.err != nil {
					p.srcFault = true // both directions end
				}
			}
		case err == nil:
			p.err = unix.EPIPE // cannot happen; a loop would be worse
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return false
		default:
			p.err = err
		}
	}
	return true
}

func (p *pump) giveSome(fd int) (int, error) {
	p.calls++
	if p.piped {
		n, err := splice(p.pipe.r, fd, p.left)
		if n > 0 {
			p.flow.spliced(n)
		}
		return n, err
	}
	at := p.offset % bufferSize
	n, err := write(fd, p.buffers[p.offset/bufferSize][at:min(at+p.left, bufferSize)])
	if n > 0 {
		p.offset += n
		p.flow.copied(n)
	}
	return n, err
}

// rescue moves the bytes of a stalled pump to buffers, and returns its pipe. False: it moves again.
func (p *pump) rescue() (pipe, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stalled || !p.piped {
		return pipe{}, false
	}
	for i, have := 0, 0; have < p.left; i++ {
		p.buffers[i] = buffers.Get().(*[bufferSize]byte)
		for at := 0; at < bufferSize && have < p.left; {
			n, err := read(p.pipe.r, p.buffers[i][at:min(bufferSize, at+p.left-have)])
			if err == unix.EINTR {
				continue
			}
			if n <= 0 { // cannot be: they are there
				p.err = unix.EPIPE
				return pipe{}, false
			}
			at, have = at+n, have+n
		}
	}
	p.offset, p.rescued, p.piped = 0, true, false
	return p.pipe, true
}

// drop gives back what the pump holds.
func (p *pump) drop() {
	totals.calls.Add(p.calls)
	p.calls = 0
	if p.piped {
		if p.left > 0 {
			pipes.discard(p.pipe)
		} else {
			pipes.put(p.pipe)
		}
		p.piped = false
	}
	for i, b := range p.buffers {
		if b == nil {
			break
		}
		buffers.Put(b)
		p.buffers[i] = nil
	}
	if p.rescued {
		p.rescued = false
		pipes.rescueOver()
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
