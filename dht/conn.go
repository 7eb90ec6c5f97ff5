package dht

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// socket is what a guarded connection needs of a *net.UDPConn.
type socket interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
	LocalAddr() net.Addr
	Close() error
}

const (
	// servedQueries a second are given to the library, with bursts of as many; each costs it three goroutines and
	// some 30 us. A private network of 1,000 nodes that poll each other needs 500.
	servedQueries = 1000

	// findBudget is how many find_node queries leave in a minute. The library's own table maintenance follows
	// whatever nodes it is told of, without end; a full table needs some 160. Once the budget is spent its queries
	// fail at once, so that a walk that a hostile node keeps feeding comes to its end and is forgotten.
	findBudget = 600

	readErrorPause = 50 * time.Millisecond // after a read error that is not our closing
)

// directSink takes datagrams that are not the DHT's. It must not block, and keeps nothing of b.
type directSink interface {
	receive(from netip.AddrPort, b []byte) DropReason
}

// guardedConn is the UDP socket as the library sees it. The library's reading goroutine runs ReadFrom, so that what is
// dropped here never gets any further, and what is ours is taken out here; there is no goroutine of our own.
type guardedConn struct {
	sock     socket
	mode     Mode
	queries  *rate.Limiter
	stats    *stats
	direct   atomic.Pointer[directSink]
	observed func(from netip.Addr, seen netip.AddrPort) // an answer told us our address
	heard    func(from netip.AddrPort, query bool)      // a packet passed

	closing chan struct{} // closed by Close
	once    sync.Once
	reading sync.Mutex // held while ReadFrom runs

	mu     sync.Mutex // guards the fields below
	minute int64      // of the find_node budget
	spent  int
}

func newGuardedConn(sock socket, mode Mode, st *stats) *guardedConn {
	return &guardedConn{
		sock: sock, mode: mode, stats: st, queries: rate.NewLimiter(servedQueries, servedQueries),
		observed: func(netip.Addr, netip.AddrPort) {}, heard: func(netip.AddrPort, bool) {},
		closing: make(chan struct{}),
	}
}

// ReadFrom returns the next packet that is the DHT's and passes the guard. The library panics on an error of its socket
// unless it is closing, so an error is returned only then.
func (c *guardedConn) ReadFrom(b []byte) (int, net.Addr, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for {
		n, from, err := c.sock.ReadFromUDPAddrPort(b)
		if err != nil {
			if !c.pauseUnlessClosing() {
				return 0, nil, net.ErrClosed
			}
			c.stats.readErrors.Add(1)
			continue
		}
		from = unmapped(from)
		if drop := c.sort(from, b[:n]); drop != pass {
			c.stats.drops[drop].Add(1)
			continue
		}
		if b[0] == 'd' {
			return n, net.UDPAddrFromAddrPort(from), nil
		}
	}
}

// sort decides what a packet is; what is ours has been handed over when it returns.
func (c *guardedConn) sort(from netip.AddrPort, b []byte) DropReason {
	if len(b) == 0 {
		return DropForeign
	}
	switch b[0] {
	case 'd':
		return c.sortNode(from, b)
	case directMagic:
		if !c.mode.allowsDirect(from) {
			return DropAddress
		}
		if d := c.direct.Load(); d != nil {
			return (*d).receive(from, b)
		}
	}
	return DropForeign
}

func (c *guardedConn) sortNode(from netip.AddrPort, b []byte) DropReason {
	if !c.mode.allowsNode(from) {
		return DropAddress
	}
	p, drop := guard(b)
	if drop != pass {
		return drop
	}
	if p.query {
		if !c.queries.Allow() {
			return DropFlood
		}
		c.stats.queriesIn.Add(1)
	} else if p.observed.IsValid() {
		c.observed(from.Addr(), p.observed)
	}
	c.heard(from, p.query)
	return pass
}

// pauseUnlessClosing waits a moment and returns true, or returns false at once when the connection is being closed.
func (c *guardedConn) pauseUnlessClosing() bool {
	t := time.NewTimer(readErrorPause)
	defer t.Stop()
	select {
	case <-c.closing:
		return false
	case <-t.C:
		return true
	}
}

// WriteTo sends a packet of the library's.
func (c *guardedConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	ua, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, errAddress
	}
	to := unmapped(ua.AddrPort())
	if !c.mode.allowsNode(to) {
		c.stats.refusedOut.Add(1)
		return 0, errAddress
	}
	if outgoingQuery(b) == "find_node" && !c.spend(time.Now()) {
		return 0, errBudget
	}
	return c.sock.WriteToUDPAddrPort(b, to)
}

// writeDirect sends a datagram of ours.
func (c *guardedConn) writeDirect(b []byte, to netip.AddrPort) error {
	if !c.mode.allowsDirect(to) {
		c.stats.refusedOut.Add(1)
		return errAddress
	}
	_, err := c.sock.WriteToUDPAddrPort(b, to)
	return err
}

// spend takes one find_node query out of the minute's budget.
func (c *guardedConn) spend(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if minute := now.Unix() / 60; minute != c.minute {
		c.minute, c.spent = minute, 0
	}
	c.spent++
	return c.spent <= findBudget
}

// Close closes the socket and returns when it is closed. The library calls it too, some time later.
func (c *guardedConn) Close() error {
	var err error
	c.once.Do(func() {
		close(c.closing)
		err = c.sock.Close()
	})
	return err
}

// leave returns when the library's reading goroutine is not in ReadFrom. After Close it will not stay there again.
func (c *guardedConn) leave() {
	c.reading.Lock()
	defer c.reading.Unlock()
}

// LocalAddr returns the address the socket is bound to.
func (c *guardedConn) LocalAddr() net.Addr { return c.sock.LocalAddr() }

// Deadlines are no use to the library's reading goroutine; net.PacketConn asks for them.

// SetDeadline does nothing.
func (c *guardedConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (c *guardedConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (c *guardedConn) SetWriteDeadline(time.Time) error { return nil }
