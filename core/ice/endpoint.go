package ice

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Endpoint is the long-lived part: the listeners that all attempts share, and the table that says whose an accepted
// connection is. Methods are safe for concurrent use.
type Endpoint struct {
	cfg     Config // its Relays and STUN are those of the start: see servers
	servers atomic.Pointer[servers]
	lns     []*net.TCPListener
	port    uint16
	stats   stats
	udp     *udpPorts    // nil: TCP only
	suspect atomic.Int64 // until then, in nanoseconds of Unix time, relays are asked for UDP ports too

	ctx    context.Context // ends with the endpoint
	cancel context.CancelFunc
	wg     sync.WaitGroup // accept loops, admissions, releases of allocations

	mu          sync.Mutex // guards the fields below
	closed      bool
	attempts    map[string]*Attempt // by ufrag
	unrouted    map[*net.TCPConn]arrival
	arrivals    uint64                        // ever
	perSource   map[netip.Addr][]*net.TCPConn // of unrouted, oldest first; no entry is empty
	reflections map[reflectKey]*reflection
	learnt      Network
	changed     chan struct{} // closed and replaced
}

// arrival is where a connection came from, and as the how manieth.
type arrival struct {
	from netip.Addr
	n    uint64
}

// Listen opens the listeners.
func Listen(cfg Config) (*Endpoint, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	lns, err := listenAll(&cfg)
	if err != nil {
		return nil, err
	}
	e := &Endpoint{
		cfg: cfg, lns: lns, port: lns[0].Addr().(*net.TCPAddr).AddrPort().Port(),
		attempts:    make(map[string]*Attempt),
		unrouted:    make(map[*net.TCPConn]arrival),
		perSource:   make(map[netip.Addr][]*net.TCPConn),
		reflections: make(map[reflectKey]*reflection),
		changed:     make(chan struct{}),
	}
	e.servers.Store(serversOf(cfg))
	e.ctx, e.cancel = context.WithCancel(context.Background())
	for _, ln := range lns {
		e.wg.Add(1)
		go e.acceptLoop(ln)
	}
	if !cfg.TCPOnly {
		e.udp = listenUDP(e)
	}
	return e, nil
}

// Port returns the TCP port of the listeners.
func (e *Endpoint) Port() uint16 { return e.port }

// UDPPort returns the port of the UDP sockets: that of the first, which is the TCP port where that was free; 0 without UDP.
func (e *Endpoint) UDPPort() uint16 {
	if e.udp == nil {
		return 0
	}
	return e.udp.socks[0].local.Port()
}

// Close closes the listeners and every attempt, and waits for all goroutines. Paths over TCP that were handed
// over stay; those over UDP share our sockets and end.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	e.closed = true
	attempts := make([]*Attempt, 0, len(e.attempts))
	for _, a := range e.attempts {
		attempts = append(attempts, a)
	}
	for conn := range e.unrouted {
		conn.Close()
	}
	e.mu.Unlock()
	e.cancel()
	closeAll(e.lns)
	for _, a := range attempts {
		a.Close()
	}
	if e.udp != nil {
		e.udp.close()
	}
	e.wg.Wait()
	return nil
}

// remember puts an attempt into the table.
func (e *Endpoint) remember(a *Attempt) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	if len(e.attempts) >= e.cfg.MaxAttempts {
		return ErrBusy
	}
	e.attempts[a.ufrag] = a
	return nil
}

func (e *Endpoint) forget(a *Attempt) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.attempts, a.ufrag)
}

func (e *Endpoint) find(ufrag []byte) *Attempt {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.attempts[string(ufrag)]
}

// acceptLoop takes connections off one listener.
func (e *Endpoint) acceptLoop(ln *net.TCPListener) {
	defer e.wg.Done()
	for {
		conn, err := ln.AcceptTCP()
		if err != nil {
			if e.ctx.Err() != nil {
				return
			}
			e.stats.acceptFailures.Add(1)
			sleep(e.ctx, 100*time.Millisecond) // out of descriptors, most likely: it passes
			continue
		}
		e.stats.accepted.Add(1)
		if !e.enter(conn) {
			e.stats.refused.Add(1)
			conn.Close()
			continue
		}
		go e.admit(conn)
	}
}

// enter counts a connection among those that have not said whose they are, if there is room. Where all the room is taken, the oldest of
// the source that has most goes: a peer that means it speaks within a round trip, so who waits longest in silence is not one.
func (e *Endpoint) enter(conn *net.TCPConn) bool {
	from := sourceOf(conn)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || len(e.perSource[from]) >= maxPerSource {
		return false
	}
	if len(e.unrouted) >= e.cfg.MaxUnrouted {
		e.evictLocked()
	}
	e.arrivals++
	e.unrouted[conn] = arrival{from, e.arrivals}
	e.perSource[from] = append(e.perSource[from], conn)
	e.wg.Add(1)
	return true
}

// evictLocked closes the oldest connection of the source that has most; its admit sees the end of it. It looks at each source, of which there are at most MaxUnrouted.
func (e *Endpoint) evictLocked() {
	var heaviest []*net.TCPConn
	for _, conns := range e.perSource {
		if len(conns) > len(heaviest) || len(conns) == len(heaviest) && e.unrouted[conns[0]].n < e.unrouted[heaviest[0]].n {
			heaviest = conns
		}
	}
	e.stats.evicted.Add(1)
	heaviest[0].Close()
	e.leaveLocked(heaviest[0])
}

// leave takes a connection off the count, unless it was evicted.
func (e *Endpoint) leave(conn *net.TCPConn) (stays bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leaveLocked(conn)
}

func (e *Endpoint) leaveLocked(conn *net.TCPConn) bool {
	at, there := e.unrouted[conn]
	if !there {
		return false
	}
	from := at.from
	delete(e.unrouted, conn)
	e.perSource[from] = slices.DeleteFunc(e.perSource[from], func(c *net.TCPConn) bool { return c == conn })
	if len(e.perSource[from]) == 0 {
		delete(e.perSource, from)
	}
	return true
}

// sourceOf is the address a connection is counted under: for IPv6 its /64, which one host can use whole.
func sourceOf(conn *net.TCPConn) netip.Addr {
	a := remoteAddr(conn).Addr()
	if a.Is4() {
		return a
	}
	p, _ := a.Prefix(64)
	return p.Addr()
}

// admit reads the first frame, which says whose the connection is, and gives it to that attempt.
func (e *Endpoint) admit(conn *net.TCPConn) {
	defer e.wg.Done()
	s := &stream{conn: conn, peer: remoteAddr(conn)}
	a, frame := e.route(conn)
	if !e.leave(conn) || a == nil || a.attach(s, frame) != nil {
		conn.Close()
	}
}

// route returns the attempt that the first frame is for, and the frame. Nobody gets this far without the attempt's password.
func (e *Endpoint) route(conn *net.TCPConn) (*Attempt, []byte) {
	conn.SetReadDeadline(time.Now().Add(e.cfg.FirstFrame))
	frame, tls, err := readFrame(conn)
	switch {
	case tls || err == errGarbage:
		e.stats.garbage.Add(1)
		return nil, nil
	case errors.Is(err, net.ErrClosed):
		return nil, nil // by us: evicted, or the endpoint is
	case err != nil:
		e.stats.silent.Add(1)
		return nil, nil
	}
	conn.SetReadDeadline(time.Time{})
	m, err := parseCheck(frame)
	ufrag, ok := addressee(m)
	a := e.find(ufrag)
	switch {
	case err != nil || !ok:
		e.stats.garbage.Add(1)
	case a == nil:
		e.stats.stray.Add(1)
	case a.mine(m) != nil:
		e.stats.garbage.Add(1)
	default:
		e.stats.routed.Add(1)
		return a, frame
	}
	return nil, nil
}

// localAddr and remoteAddr return the ends of a connection, unmapped and without zone.
func localAddr(conn *net.TCPConn) netip.AddrPort { return unmapped(conn.LocalAddr()) }

func remoteAddr(conn *net.TCPConn) netip.AddrPort { return unmapped(conn.RemoteAddr()) }

func unmapped(a net.Addr) netip.AddrPort {
	at := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}
