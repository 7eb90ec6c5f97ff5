package service

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// maxFlows is how many addresses one forward serves at once; the datagrams of more are dropped.
const maxFlows = 256

// Flows listens on a UDP socket of this machine and opens a channel for each address that sends there. It is a worker.
type Flows struct {
	Socket *net.UDPConn
	To     Request // what each flow asks for
	Open   Opener
	Idle   time.Duration // of a flow [DefaultFlowIdle]

	stats ForwardStats

	mu    sync.Mutex // guards the fields below
	flows map[netip.AddrPort]*queue
	why   error
}

// Stats are the forward's counters. Refused counts datagrams of flows beyond maxFlows, Dropped those that a channel was too slow for.
func (f *Flows) Stats() *ForwardStats { return &f.stats }

// LastError is why the last flow that failed did; nil when none has.
func (f *Flows) LastError() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.why
}

// Close closes the socket; Serve returns.
func (f *Flows) Close() error { return f.Socket.Close() }

// Serve takes datagrams until ctx ends or the socket is closed, which it does itself. It returns when every flow has ended.
func (f *Flows) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { f.Socket.Close() })
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel(errors.New("the forward was taken away"))
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := f.Socket.ReadFromUDPAddrPort(buf)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			continue // what the system reports of a datagram that was sent before (ICMP)
		}
		q, fresh := f.queueOf(from)
		if q == nil {
			f.stats.Refused.Add(1)
			continue
		}
		q.push(buf[:n])
		if fresh {
			running.Go(func() { f.carry(ctx, from, q) })
		}
	}
}

// queueOf returns the queue of the flow from an address, nil when there are too many.
func (f *Flows) queueOf(from netip.AddrPort) (q *queue, fresh bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if q := f.flows[from]; q != nil || len(f.flows) >= maxFlows {
		return q, false
	}
	if f.flows == nil {
		f.flows = map[netip.AddrPort]*queue{}
	}
	q = newQueue(&f.stats.Dropped)
	f.flows[from] = q
	f.stats.Open.Add(1)
	f.stats.Total.Add(1)
	return q, true
}

// carry serves one flow to its end.
func (f *Flows) carry(ctx context.Context, from netip.AddrPort, q *queue) {
	idle := f.Idle
	if idle <= 0 {
		idle = DefaultFlowIdle
	}
	ch, err := f.Open(ctx, f.To)
	if err == nil {
		one := &flow{ch: ch, queue: q, o: Options{Idle: idle, In: &f.stats.In, Out: &f.stats.Out}, deliver: func(b []byte) error {
			_, err := f.Socket.WriteToUDPAddrPort(b, from)
			return err
		}}
		err = one.run(ctx)
	} else {
		f.stats.Failed.Add(1)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.flows, from)
	f.stats.Open.Add(-1)
	if err != nil {
		f.why = err
	}
}
