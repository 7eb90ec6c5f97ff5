package service

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// maxForwarded is how many connections one forward carries at once; more are closed at once. The other side's limits are usually lower.
const maxForwarded = 256

// socksTime bounds how long a client may take to say what it wants.
const socksTime = 10 * time.Second

// Opener opens a channel for a request. Its errors may have a reply for a SOCKS client: see Denial.
type Opener func(ctx context.Context, r Request) (Stream, error)

// Denial is an error that says no, not that something failed.
type Denial interface{ Denied() bool }

// Forward listens on this machine and opens a channel for each connection. It is a worker.
type Forward struct {
	Listener net.Listener
	To       Request // what each connection asks for
	SOCKS    bool    // instead, each connection says so itself
	Open     Opener
	Idle     time.Duration // of a connection; 0: never

	stats ForwardStats
	mu    sync.Mutex // guards why
	why   error
}

// ForwardStats counts.
type ForwardStats struct {
	Open    atomic.Int64  // connections now
	Total   atomic.Uint64 // since the forward began
	Failed  atomic.Uint64 // of those, without a channel
	Refused atomic.Uint64 // closed because maxForwarded were open
	In, Out atomic.Uint64 // bytes from and to the peer
	Dropped atomic.Uint64 // datagrams that came faster than the peer took them
}

// Stats are the forward's counters.
func (f *Forward) Stats() *ForwardStats { return &f.stats }

// LastError is why the last connection that failed did; nil when none has.
func (f *Forward) LastError() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.why
}

// Close closes the listener; Serve returns.
func (f *Forward) Close() error { return f.Listener.Close() }

// Serve takes connections until ctx ends or the listener is closed, which it does itself. It returns when every connection has ended.
func (f *Forward) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { f.Listener.Close() })
	defer stop()
	var conns sync.WaitGroup
	defer conns.Wait()
	defer cancel(errors.New("the forward was taken away"))
	for {
		c, err := f.Listener.Accept()
		if err != nil {
			var passing interface{ Temporary() bool }
			if ctx.Err() == nil && errors.As(err, &passing) && passing.Temporary() {
				// Descriptors are short: the connection waits in the kernel, and so do we.
				select {
				case <-time.After(100 * time.Millisecond):
					continue
				case <-ctx.Done():
				}
			}
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if f.stats.Open.Load() >= maxForwarded {
			f.stats.Refused.Add(1)
			Conn(c).Abort(nil)
			continue
		}
		f.stats.Open.Add(1)
		f.stats.Total.Add(1)
		conns.Go(func() {
			defer f.stats.Open.Add(-1)
			if err := f.carry(ctx, c); err != nil {
				f.mu.Lock()
				f.why = err
				f.mu.Unlock()
			}
		})
	}
}

// carry serves one connection.
func (f *Forward) carry(ctx context.Context, c net.Conn) error {
	local, to := Conn(c), f.To
	if f.SOCKS {
		stop := context.AfterFunc(ctx, func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(socksTime))
		var err error
		to, err = readSOCKS(c)
		stop()
		if err != nil {
			f.stats.Failed.Add(1)
			_ = local.Close()
			return err
		}
		_ = c.SetDeadline(time.Time{})
	}
	ch, err := f.Open(ctx, to)
	if err != nil {
		f.stats.Failed.Add(1)
		if f.SOCKS {
			answerSOCKS(c, socksReply(err))
			_ = local.Close()
		} else {
			local.Abort(err)
		}
		return err
	}
	if f.SOCKS {
		answerSOCKS(c, socksOK)
	}
	return Join(ctx, ch, local, Options{Idle: f.Idle, In: &f.stats.In, Out: &f.stats.Out})
}

func socksReply(err error) byte {
	var no Denial
	if errors.As(err, &no) && no.Denied() {
		return socksDenied
	}
	return socksUnreachable
}
