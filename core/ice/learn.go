package ice

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Bounds of what Learn waits for: a SYN that was lost comes again after a second.
const (
	learnDial   = 3 * time.Second
	learnAccept = 2 * time.Second
)

// Learn finds out what this network does to TCP, and remembers it for the offers that follow: at the start, and when the
// network has changed. It borrows an address at the first relay that lends one and dials it from the listeners' port. If that
// does not come through, TCP is filtered, as the relay itself could be reached; if the relay sees another port than when
// it was asked itself, the NAT maps each destination anew. Without a relay, or without an answer, nothing is known.
func (e *Endpoint) Learn(ctx context.Context) (Network, error) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.RelayGatherTimeout+learnDial+learnAccept)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	learnt, err := e.learn(ctx)
	if err == nil {
		e.mu.Lock()
		e.learnt = learnt
		e.mu.Unlock()
	}
	return e.network(), err
}

// network is what is known: what was learnt, and how the router maps the port now.
func (e *Endpoint) network() Network {
	e.mu.Lock()
	n := e.learnt
	e.mu.Unlock()
	if _, how := e.mappedPort(); how != MapNone {
		n.Mapping = how
	}
	return n
}

func (e *Endpoint) learn(ctx context.Context) (Network, error) {
	own, err := hosts(&e.cfg)
	if err != nil {
		return Network{}, err
	}
	v6 := !slices.ContainsFunc(own, func(a netip.Addr) bool { return a.Is4() })
	if !slices.ContainsFunc(own, func(a netip.Addr) bool { return !a.IsLoopback() }) {
		return Network{}, nil
	}
	err = errNoRelay
	for _, r := range e.servers.Load().relays {
		var n Network
		if n, err = e.learnFrom(ctx, r, v6); err == nil {
			return n, nil
		}
	}
	return Network{}, err
}

func (e *Endpoint) learnFrom(ctx context.Context, r Relay, v6 bool) (n Network, err error) {
	f := e.reflect(r, v6)
	if f == nil {
		return n, ErrClosed
	}
	defer e.unreflect(f)
	l, err := e.allocateOne(ctx, r, v6)
	if err != nil {
		return n, err
	}
	defer e.giveBack(l)
	select {
	case <-f.ready:
	case <-ctx.Done():
		return n, context.Cause(ctx)
	}
	// The relay must let in whom it sees us as; what it refuses, such as private addresses, is no NAT's.
	_ = l.Permit(ctx, l.Mapped().Addr().Unmap())
	dialCtx, cancel := context.WithTimeout(ctx, learnDial)
	conn, err := e.dial(dialCtx, l.Relayed(), f.err == nil, false)
	cancel()
	if err != nil {
		var t interface{ Timeout() bool }
		n.Filtered = errors.As(err, &t) && t.Timeout()
		return n, ctx.Err()
	}
	defer reset(conn)
	if f.err != nil {
		return n, nil
	}
	acceptCtx, cancel := context.WithTimeout(ctx, learnAccept)
	defer cancel()
	came, peer, err := l.Accept(acceptCtx)
	if err != nil {
		return n, ctx.Err()
	}
	defer came.Close()
	n.Symmetric = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()) != f.mapped
	return n, nil
}

// reset closes a connection and frees its pair of addresses at once.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}
