package udp

import "sync/atomic"

// Stats counts what batches do. All who work for one shard may share it; it is written once a system call, not once a
// packet. Safe for concurrent use.
type Stats struct {
	RecvCalls, Received atomic.Uint64 // system calls that brought something, and datagrams
	SendCalls, Sent     atomic.Uint64 // system calls, and datagrams taken by the kernel
	TrainsIn, TrainsOut atomic.Uint64 // messages of several datagrams
	Fallbacks           atomic.Uint64 // trains that the kernel refused, and that were sent one by one
	Waits               atomic.Uint64 // times that somebody waited for a Poller
	Holds, Vain         atomic.Uint64 // of those, with a processor that was kept (Poller.Hold), and that brought nothing so
}

// Counts is a copy of Stats.
type Counts struct {
	RecvCalls, Received, SendCalls, Sent, TrainsIn, TrainsOut, Fallbacks, Waits, Holds, Vain uint64
}

// Load returns the counts now.
func (s *Stats) Load() Counts {
	return Counts{
		RecvCalls: s.RecvCalls.Load(), Received: s.Received.Load(), SendCalls: s.SendCalls.Load(), Sent: s.Sent.Load(),
		TrainsIn: s.TrainsIn.Load(), TrainsOut: s.TrainsOut.Load(), Fallbacks: s.Fallbacks.Load(), Waits: s.Waits.Load(), Holds: s.Holds.Load(), Vain: s.Vain.Load(),
	}
}

// Add adds what others counted.
func (c *Counts) Add(o Counts) {
	c.RecvCalls += o.RecvCalls
	c.Received += o.Received
	c.SendCalls += o.SendCalls
	c.Sent += o.Sent
	c.TrainsIn += o.TrainsIn
	c.TrainsOut += o.TrainsOut
	c.Fallbacks += o.Fallbacks
	c.Waits += o.Waits
	c.Holds += o.Holds
	c.Vain += o.Vain
}

// Drops says how many datagrams of a batch the kernel did not take, and why.
type Drops struct {
	Full    int // the socket's or the interface's queue is full
	TooBig  int // longer than UDP has, or than the path takes when it must not be cut
	Refused int // anything else: no route, forbidden, closed
}

// Total returns the number of datagrams.
func (d Drops) Total() int { return d.Full + d.TooBig + d.Refused }
