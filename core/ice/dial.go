package ice

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// Retries of a dial that was refused or reset, or that ended before the first answer (PROTOCOL.md 3).
const (
	retryFirst  = 10 * time.Millisecond
	retryMost   = 500 * time.Millisecond
	retryWindow = 10 * time.Second
	// takenPause is how long a connection that the peer opened may take to come in, when its address pair is taken already.
	takenPause = 20 * time.Millisecond
)

// dialLoop connects to one address of the peer, and again while that makes sense.
func (a *Attempt) dialLoop(l *leg) {
	defer a.loopEnded()
	if l.relayed {
		select {
		case <-a.gate:
		case <-a.ctx.Done():
			return
		}
	}
	ctx, cancel := context.WithTimeout(a.ctx, a.ep.cfg.window)
	defer cancel()
	shared := !l.relayed // from the listener's port
	pause := retryFirst
	for {
		if s := a.streamOf(l); s != nil {
			select {
			case <-s.done:
			case <-a.ctx.Done():
				return
			}
			if s.state().answered {
				return
			}
			shared = shared && !errors.Is(s.err, errCrossed)
		} else {
			err := a.dial(ctx, l, shared)
			switch {
			case err == nil, errors.Is(err, errTaken):
				continue // wait for that connection
			case errors.Is(err, ErrClosed), errors.Is(err, errFull), errors.Is(err, errPolicies):
				return
			case isTaken(err):
				shared, pause = false, takenPause
			}
		}
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, retryMost)
	}
}

func (a *Attempt) streamOf(l *leg) *stream {
	a.mu.Lock()
	defer a.mu.Unlock()
	return l.stream
}

// dial makes one connection and takes it into the attempt.
func (a *Attempt) dial(ctx context.Context, l *leg, shared bool) error {
	a.mu.Lock()
	l.tries++
	l.changed = time.Now() // a dial that nobody answers is one, too
	a.mu.Unlock()
	conn, err := a.ep.dial(ctx, l.addr, shared, l.relayed)
	if err != nil {
		a.mu.Lock()
		l.err, l.changed = err, time.Now()
		a.mu.Unlock()
		return err
	}
	s := &stream{conn: conn, peer: l.addr, dialled: true}
	if l.relayed {
		s.relay = l.addr
	}
	if err := a.attach(s, nil); err != nil {
		conn.Close()
		return err
	}
	return nil
}

// dial opens a TCP connection. shared: from the listener's port, so that it can meet the peer's SYN and pass the NATs that
// the peer's candidates know of. A connection to a relay comes from any address.
func (e *Endpoint) dial(ctx context.Context, to netip.AddrPort, shared, relayed bool) (*net.TCPConn, error) {
	var source net.IP
	if !relayed {
		source = e.source(to.Addr())
	}
	d := e.dialer(shared, source)
	e.stats.dials.Add(1)
	conn, err := d.DialContext(ctx, network(to.Addr()), to.String())
	if err != nil {
		e.stats.dialFailures.Add(1)
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// dialer returns what dials from the listeners' port, if shared, and from an address, if there is one.
func (e *Endpoint) dialer(shared bool, source net.IP) *net.Dialer {
	var d net.Dialer
	d.SetMultipathTCP(false)
	from := net.TCPAddr{IP: source}
	if shared && canShare {
		from.Port = int(e.port)
		d.Control = shareDial
	}
	if from.IP != nil || from.Port != 0 {
		d.LocalAddr = &from
	}
	return &d
}

// source returns the address to dial a peer from: the configured one, if there is just one of that family.
func (e *Endpoint) source(to netip.Addr) net.IP {
	var only net.IP
	for _, a := range e.cfg.Addrs {
		if a = a.Unmap(); a.Is4() == to.Is4() {
			if only != nil {
				return nil
			}
			only = a.AsSlice()
		}
	}
	return only
}

// dialsTo reports whether peers of an address' family are dialled: not if only addresses of the other one are configured.
func (e *Endpoint) dialsTo(to netip.Addr) bool {
	same := func(a netip.Addr) bool { return a.Unmap().Is4() == to.Is4() }
	return e.cfg.Addrs == nil || slices.ContainsFunc(e.cfg.Addrs, same)
}

// isTaken reports whether a dial failed because this pair of addresses and ports has a connection, live or lately closed.
func isTaken(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EADDRINUSE)
}

// sleep waits; it reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
