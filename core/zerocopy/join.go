package zerocopy

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// settleTime is how long a failed Join waits until the bytes for the side that still lives are acknowledged, before it
// closes that side. A close with unread input resets the connection, and a reset throws away what was not sent yet.
const settleTime = 3 * time.Second

// Flow counts the bytes of one direction, by the way they took. Several Joins may share one.
type Flow struct {
	Spliced atomic.Uint64 // stayed in the kernel
	Copied  atomic.Uint64 // went through a buffer of ours

	Total *Flow // is added to, too; nil: none. Set before its first use
}

// Add counts bytes that the caller relayed, through a buffer of its own.
func (f *Flow) Add(n int) {
	for ; f != nil; f = f.Total {
		f.Copied.Add(uint64(n))
	}
}

// Pacer limits how fast bytes move in one direction. Several Joins may share one: what it grants it has charged, so that they
// cannot take the same bytes twice. It does not block.
type Pacer interface {
	// Take returns how many of want bytes may be moved now, and charges them. With 0 the Join waits for paceInterval and asks
	// again; meanwhile the sender's bytes stay in its socket, and TCP slows it down.
	Take(want int) int
	// Return takes back what was granted and not moved.
	Return(n int)
}

// paceInterval is as short as a fifth of a second's worth of bytes is useful: a fill of the bucket.
const paceInterval = 50 * time.Millisecond

// Layer is a record layer that the kernel has on a connection, as kernel TLS: what is read from the socket, or spliced, has
// been opened, and what is written is sealed. Some records are not data, and those only Read understands.
type Layer interface {
	// Read reads what the peer says next: data, or io.EOF when that is how it ends its stream. It obeys the connection's read
	// deadline.
	Read(p []byte) (int, error)
	// CloseWrite tells the peer that our stream has ended.
	CloseWrite() error
	// Sealed is told of every write of n bytes. An error ends the Join as a reset does: the key has done what it may.
	Sealed(n int) error
}

// Options of a Join. The zero value has no idle limit and counts nowhere but in ReadStats.
type Options struct {
	// Idle ends the Join when no byte was delivered in either direction for so long. 0: never.
	Idle time.Duration
	// AToB and BToA are added to as bytes are delivered. nil: not counted here.
	AToB, BToA *Flow
	// PaceAToB and PaceBToA limit them. nil: as fast as it goes.
	PaceAToB, PaceBToA Pacer
	// LayerA is on a. nil: a is a plain connection. With one, an end of a's stream that the layer does not vouch for, a FIN
	// without a close_notify, is a reset for b.
	LayerA Layer
}

// ErrIdle is Join's error when its idle limit ran out. It is an os.ErrDeadlineExceeded.
var ErrIdle error = idleError{}

type idleError struct{}

func (idleError) Error() string        { return "zerocopy: idle for too long" }
func (idleError) Timeout() bool        { return true }
func (idleError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// sourceError says that reading failed. TCP has no half a reset: that side is gone in both directions.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

// errWoken ends a pump because the other one said so; the other has the reason.
var errWoken = errors.New("zerocopy: the other direction failed")

// way is one direction.
type way struct {
	flow  *Flow
	pace  Pacer
	layer Layer // of the source
	onto  Layer // of the destination
}

// Join relays between a and b until both directions have ended, and closes both. It returns nil when each side ended
// its stream with a FIN, and otherwise what ended it first. It starts one goroutine and waits for it.
func Join(a, b *net.TCPConn, o Options) error {
	j := &join{idle: o.Idle}
	j.touch()
	there := &way{flow: o.AToB, pace: o.PaceAToB, layer: o.LayerA}
	back := &way{flow: o.BToA, pace: o.PaceBToA, onto: o.LayerA}
	result := make(chan error, 1)
	go j.relayBack(result, a, b, back)
	err := j.relay(b, a, there)
	return finish(a, b, firstCause(err, <-result))
}

// join is what the two directions share.
type join struct {
	idle  time.Duration
	last  atomic.Int64 // when a byte was last delivered, in ns; not kept without an idle limit
	woken atomic.Bool  // both pumps shall end
}

func (j *join) relayBack(result chan<- error, dst, src *net.TCPConn, w *way) {
	result <- j.relay(dst, src, w)
}

// relay moves bytes from src to dst until src has no more, and passes the end on.
func (j *join) relay(dst, src *net.TCPConn, w *way) error {
	if w.flow == nil {
		w.flow = new(Flow)
	}
	err := j.pump(dst, src, w)
	if err == nil {
		if w.onto != nil {
			return w.onto.CloseWrite()
		}
		return dst.CloseWrite()
	}
	var gone sourceError
	if errors.As(err, &gone) || err == ErrIdle {
		// The other pump may be waiting for dst, which is silent: wake it. A failed write needs no such help: the other
		// pump reads from the very side that failed, takes what it said before, and then meets its end.
		j.woken.Store(true)
		_ = dst.SetReadDeadline(time.Unix(1, 0))
	}
	return err
}

// finish closes both sides in a way that each can understand.
func finish(a, b *net.TCPConn, err error) error {
	var gone sourceError
	reset := errors.As(err, &gone)
	if err != nil && err != ErrIdle && !errors.Is(err, net.ErrClosed) {
		settle(a)
		settle(b)
	}
	if reset || err == ErrIdle {
		_ = a.SetLinger(0)
		_ = b.SetLinger(0)
	}
	_ = a.Close()
	_ = b.Close()
	if reset {
		return gone.error
	}
	return err
}

// Reset closes a connection so that it does not look finished to the other side, which first gets what was sent, if it reads that
// within a few seconds.
func Reset(c *net.TCPConn) {
	settle(c)
	_ = c.SetLinger(0)
	_ = c.Close()
}

// firstCause prefers the error that made the other.
func firstCause(there, back error) error {
	if there == nil || there == errWoken {
		return back
	}
	return there
}

// sleep waits until it is worth asking a pacer again. It returns an error when the Join has ended meanwhile.
func (j *join) sleep(src, dst *net.TCPConn) error {
	time.Sleep(paceInterval)
	switch {
	case j.woken.Load():
		return errWoken
	case closed(src), closed(dst): // for nobody waits for them here, who would be told
		return net.ErrClosed
	}
	return nil
}

// closed says whether a connection was closed on our side.
func closed(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	return err != nil || raw.Control(func(uintptr) {}) != nil
}

// touch notes that a byte was delivered.
func (j *join) touch() {
	if j.idle > 0 {
		j.last.Store(time.Now().UnixNano())
	}
}

// begin sets the first deadlines of a pump.
func (j *join) begin(dst, src *net.TCPConn) {
	if j.idle > 0 {
		end := time.Now().Add(j.idle)
		_ = src.SetReadDeadline(end)
		_ = dst.SetWriteDeadline(end)
	}
}

// expired looks at a deadline that has passed: nil means that it was moved and the pump goes on. Deadlines are moved only
// when they pass, so that a busy connection pays nothing for them.
func (j *join) expired(set func(time.Time) error) error {
	if j.woken.Load() {
		return errWoken
	}
	end := time.Unix(0, j.last.Load()).Add(j.idle)
	if !time.Now().Before(end) {
		return ErrIdle
	}
	if err := set(end); err != nil {
		return err
	}
	if j.woken.Load() { // said so just now, and set overwrote its wake-up
		return errWoken
	}
	return nil
}
