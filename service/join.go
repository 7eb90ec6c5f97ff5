package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"traverse.internal/core/bufpool"
	"traverse.internal/core/framing"
)

// Codes of a channel's reset, in the user's range (docs/protocol/services.md).
const (
	CodeLocal = uint16(framing.CodeApplication) + 0x10 // the local connection failed
	CodeIdle  = uint16(framing.CodeApplication) + 0x11 // no byte went either way for the service's idle time
	CodeEnded = uint16(framing.CodeApplication) + 0x12 // the service, the forward or the node was taken away
)

// ErrIdle is Join's error when no byte went either way for Options.Idle.
var ErrIdle = errors.New("service: idle for too long")

// Stream is a channel as Join needs it; *mux.Channel is one.
type Stream interface {
	io.Reader
	io.Writer
	CloseWrite() error
	Close() error
	Reset(code uint16, reason string) error          // drops what has not been sent
	CloseWithError(code uint16, reason string) error // sends that first
	Done() <-chan struct{}
}

// Local is a connection to a program on this machine.
type Local interface {
	io.Reader
	io.Writer
	CloseWrite() error // the program reads an end behind what was written
	Close() error      // after CloseWrite and its own end it loses nothing
	Abort(cause error) // ends both directions at once, so that it does not look like an end
}

// Options of a Join.
type Options struct {
	Idle    time.Duration  // ends the Join when no byte went either way for so long; 0: never
	In, Out *atomic.Uint64 // bytes from and to the channel are added here; nil: not counted
}

// Buffers of a direction: small while little comes at once, one frame's worth under load. A connection that idles holds 2 × 4 KiB.
const (
	smallBuffer = 4 << 10
	largeBuffer = 60 << 10 // one frame of the mux at most
)

// Join relays between a channel and a local connection until both directions have ended, and closes both. Each direction ends by itself:
// an end goes on as an end behind the last byte, a failure as a reset, never as an end. It returns nil when both ended well. It starts
// two goroutines and waits for them.
func Join(ctx context.Context, ch Stream, local Local, o Options) error {
	j := &join{ch: ch, local: local, o: o}
	inward, outward := make(chan error, 1), make(chan error, 1)
	go func() { inward <- j.pump(local, ch, o.In) }()
	go func() { outward <- j.pump(ch, local, o.Out) }()
	var idle *time.Ticker
	var tick <-chan time.Time
	if o.Idle > 0 {
		idle = time.NewTicker(o.Idle)
		defer idle.Stop()
		tick = idle.C
	}
	stop, over := ctx.Done(), ch.Done()
	gone := false // the channel is over, also in the direction that still runs
	for inward != nil || outward != nil {
		select {
		case err := <-inward:
			inward = nil
			j.ended(err)
		case err := <-outward:
			outward = nil
			j.ended(err)
		case <-over:
			over, gone = nil, true
		case <-stop:
			stop = nil
			j.fail(CodeEnded, context.Cause(ctx))
		case <-tick:
			if j.moved.Swap(false) {
				continue
			}
			j.fail(CodeIdle, ErrIdle)
		}
		if gone && inward == nil && outward != nil {
			// Nothing can be sent any more, but the pump waits for the program to say something.
			j.fail(CodeLocal, errors.New("service: the other side closed the channel"))
		}
	}
	if j.err == nil {
		_ = ch.Close()
		_ = local.Close()
	}
	return j.err
}

type join struct {
	ch    Stream
	local Local
	o     Options
	moved atomic.Bool // a byte went since the last look
	err   error       // the first failure; of Join's goroutine alone
}

// fail gives both ends up, once.
func (j *join) fail(code uint16, cause error) { j.failBy(j.ch.Reset, code, cause) }

func (j *join) failBy(reset func(uint16, string) error, code uint16, cause error) {
	if j.err != nil {
		return
	}
	j.err = cause
	_ = reset(code, cause.Error())
	j.local.Abort(cause)
}

// ended notes a pump's end. A side that no longer reads ends one direction; the other may have more to say.
func (j *join) ended(err error) {
	var read *readError
	if errors.As(err, &read) {
		j.failBy(j.ch.CloseWithError, CodeLocal, read.err) // what it said before still arrives
	}
}

// readError is the failure of the side a pump reads from: its stream was cut.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }

// pump copies one direction and passes its end on.
func (j *join) pump(to interface {
	io.Writer
	CloseWrite() error
}, from io.Reader, count *atomic.Uint64,
) error {
	size := smallBuffer
	buf := bufpool.Get(size)
	defer func() { buf.Release() }()
	for {
		n, err := from.Read(buf.Bytes())
		if n > 0 {
			j.moved.Store(true)
			if _, err := to.Write(buf.Bytes()[:n]); err != nil {
				return fmt.Errorf("service: write: %w", err)
			}
			if count != nil {
				count.Add(uint64(n))
			}
		}
		switch {
		case err == io.EOF:
			return to.CloseWrite()
		case err != nil:
			return &readError{err}
		}
		if want := next(size, n); want != size {
			size = want
			buf.Release()
			buf = bufpool.Get(size)
		}
	}
}

// next is the buffer's size after n bytes came into one of the given size.
func next(size, n int) int {
	switch {
	case n == size:
		return largeBuffer
	case n < smallBuffer:
		return smallBuffer
	}
	return size
}

// Conn makes a TCP or unix connection a Local.
func Conn(c net.Conn) Local { return conn{c} }

type conn struct{ net.Conn }

func (c conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// Abort closes with a reset where there is one: TCP.
func (c conn) Abort(error) {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}
