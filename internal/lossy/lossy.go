// Package lossy is a pair of datagram sockets in one process, with the delay, the loss and the rate that a test asks for.
package lossy

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Config of both directions. The zero value delivers everything at once.
type Config struct {
	Delay time.Duration // one way
	Loss  float64       // share of the packets that get lost, 0 to 1
	Rate  float64       // bytes a second; 0: no limit
	Queue int           // bytes that wait for the rate, or for the reader; more are dropped [4 MiB]
	MTU   int           // longer packets are refused as too big; 0: none are
	Seed  uint64
	// Line is a bottleneck that several pairs share: what their first ends send waits for the rate in one queue of Queue bytes, which drops what it
	// does not hold. The way back is not limited then. nil: each direction of a pair has its own.
	Line *Line
}

// Line is a bottleneck of several pairs.
type Line struct {
	mu   sync.Mutex
	busy time.Time // until when it is taken by what was sent
}

// enter puts n bytes into the queue and returns when the last of them has left it; false: they were dropped.
func (l *Line) enter(now time.Time, n int, rate float64, queue int) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy.Before(now) {
		l.busy = now
	}
	if waiting := l.busy.Sub(now).Seconds() * rate; int(waiting)+n > queue {
		return now, false
	}
	l.busy = l.busy.Add(time.Duration(float64(n) / rate * 1e9))
	return l.busy, true
}

// End is one of the two. It is what arq.Datagrams asks for, and a net.PacketConn too.
type End struct {
	cfg  Config
	peer *End
	addr *net.UDPAddr

	mu       sync.Mutex // guards the fields below
	cond     sync.Cond
	random   *rand.Rand
	busy     time.Time // until when the line is taken by what was sent
	line     []letter  // on its way to here, in order
	queued   int       // bytes of line
	closed   bool
	timer    *time.Timer
	deadline time.Time

	Sent, Dropped atomic.Uint64 // packets
	Block         atomic.Bool   // nothing that this end sends arrives any more
}

type letter struct {
	at time.Time
	b  []byte
}

var pool = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// Pair makes two ends.
func Pair(cfg Config) (a, b *End) {
	if cfg.Queue == 0 {
		cfg.Queue = 4 << 20
	}
	make1 := func(port int) *End {
		e := &End{cfg: cfg, addr: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: port}, random: rand.New(rand.NewPCG(cfg.Seed, uint64(port)))}
		e.cond.L = &e.mu
		return e
	}
	a, b = make1(1), make1(2)
	a.peer, b.peer = b, a
	return a, b
}

// Send sends packets to the other end.
func (e *End) Send(packets [][]byte) (tooBig bool, err error) {
	e.mu.Lock()
	closed := e.closed
	e.mu.Unlock()
	if closed {
		return false, net.ErrClosed
	}
	now := time.Now()
	p := e.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range packets {
		e.Sent.Add(1)
		if e.cfg.MTU > 0 && len(b) > e.cfg.MTU {
			tooBig = true
			continue
		}
		shared := e.cfg.Line != nil
		if p.closed || e.Block.Load() || p.random.Float64() < e.cfg.Loss || !shared && p.queued+len(b) > e.cfg.Queue {
			e.Dropped.Add(1)
			continue
		}
		at := now
		switch {
		case shared && e.addr.Port == 1:
			var ok bool
			if at, ok = e.cfg.Line.enter(now, len(b), e.cfg.Rate, e.cfg.Queue); !ok {
				e.Dropped.Add(1)
				continue
			}
		case !shared && e.cfg.Rate > 0:
			if p.busy.Before(now) {
				p.busy = now
			}
			p.busy = p.busy.Add(time.Duration(float64(len(b)) / e.cfg.Rate * 1e9))
			at = p.busy
		}
		mem := *pool.Get().(*[]byte)
		p.line = append(p.line, letter{at.Add(e.cfg.Delay), append(mem[:0], b...)})
		p.queued += len(b)
	}
	p.cond.Broadcast()
	return tooBig, nil
}

// Receive waits until packets are there and gives them to take.
func (e *End) Receive(take func([]byte)) error {
	ready, err := e.arrived()
	for _, l := range ready {
		take(l.b)
		b := l.b[:0]
		pool.Put(&b)
	}
	return err
}

func (e *End) arrived() ([]letter, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		switch now := time.Now(); {
		case e.closed:
			return nil, net.ErrClosed
		case !e.deadline.IsZero() && !now.Before(e.deadline):
			return nil, timeout{}
		case len(e.line) > 0 && !e.line[0].at.After(now):
			n := 0
			for n < len(e.line) && n < 64 && !e.line[n].at.After(now) {
				e.queued -= len(e.line[n].b)
				n++
			}
			ready := append([]letter(nil), e.line[:n]...)
			e.line = e.line[n:]
			return ready, nil
		case len(e.line) > 0:
			e.alarm(e.line[0].at.Sub(now))
		}
		e.cond.Wait()
	}
}

func (e *End) alarm(after time.Duration) {
	if e.timer == nil {
		e.timer = time.AfterFunc(after, e.cond.Broadcast)
		return
	}
	e.timer.Reset(after)
}

type timeout struct{}

func (timeout) Error() string   { return "lossy: i/o timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

// Close ends both directions at this end.
func (e *End) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.timer != nil {
		e.timer.Stop()
	}
	e.cond.Broadcast()
	return nil
}

// LocalAddr is a made-up address.
func (e *End) LocalAddr() net.Addr { return e.addr }

// RemoteAddr is that of the other end.
func (e *End) RemoteAddr() net.Addr { return e.peer.addr }

// SetReadDeadline ends Receive with a timeout at t; the zero time means never.
func (e *End) SetReadDeadline(t time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deadline = t
	if !t.IsZero() {
		if d := time.Until(t); d > 0 {
			time.AfterFunc(d, e.cond.Broadcast)
		}
	}
	e.cond.Broadcast()
	return nil
}

// Under is what Over makes worse.
type Under interface {
	Send(packets [][]byte) (tooBig bool, err error)
	Receive(take func(packet []byte)) error
	SetReadDeadline(t time.Time) error
	Close() error
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
}

// Bad is an Under whose packets come late, or not at all.
type Bad struct {
	Under
	line *End // what is sent waits here
	done chan struct{}
}

// Over delays and loses what is sent on u; the other end does the same for the other direction.
func Over(u Under, cfg Config) *Bad {
	a, b := Pair(cfg)
	w := &Bad{Under: u, line: a, done: make(chan struct{})}
	go w.forward(b)
	return w
}

func (w *Bad) forward(from *End) {
	defer close(w.done)
	var batch [][]byte
	for {
		batch = batch[:0]
		if err := from.Receive(func(b []byte) { batch = append(batch, append([]byte(nil), b...)) }); err != nil {
			return
		}
		if _, err := w.Under.Send(batch); err != nil {
			return
		}
	}
}

// Send sends later.
func (w *Bad) Send(packets [][]byte) (bool, error) { return w.line.Send(packets) }

// Close ends both directions. What is still on the line is lost.
func (w *Bad) Close() error {
	err := w.Under.Close()
	_ = w.line.Close()
	_ = w.line.peer.Close()
	<-w.done
	return err
}
