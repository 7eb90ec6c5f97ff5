package ice

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"traverse.internal/core/reason"
)

// fakeRelay lends listeners of its own on loopback: what a peer dials is what Accept returns, without a server between.
// Addresses that were not permitted are reset, as a relay does.
type fakeRelay struct {
	failWith error         // of every allocation
	hang     bool          // allocations are not answered
	hold     chan struct{} // if not nil, Permit waits for it

	mu    sync.Mutex
	loans []*fakeLoan
}

type fakeLoan struct {
	relay *fakeRelay
	ln    *net.TCPListener
	at    netip.AddrPort

	mu        sync.Mutex
	permitted []netip.Addr
	once      sync.Once
	done      chan struct{}
	err       error
}

// config returns a Config that has this relay.
func (r *fakeRelay) config(cfg Config) Config {
	cfg.Relays = []Relay{{Server: "relay.test:3478", Username: "u", Password: "p"}}
	cfg.allocate = r.allocate
	return cfg
}

func (r *fakeRelay) allocate(ctx context.Context, _ Relay, v6 bool) (lender, error) {
	if r.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if r.failWith != nil {
		return nil, r.failWith
	}
	addr := lo4
	if v6 {
		addr = lo6
	}
	ln, err := listen(netip.AddrPortFrom(addr, 0))
	if err != nil {
		return nil, err
	}
	l := &fakeLoan{relay: r, ln: ln, at: unmapped(ln.Addr()), done: make(chan struct{})}
	r.mu.Lock()
	r.loans = append(r.loans, l)
	r.mu.Unlock()
	return l, nil
}

// open counts the allocations that were not given back.
func (r *fakeRelay) open() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, l := range r.loans {
		select {
		case <-l.done:
		default:
			n++
		}
	}
	return n
}

func (l *fakeLoan) Relayed() netip.AddrPort { return l.at }

func (l *fakeLoan) Mapped() netip.AddrPort { return netip.AddrPortFrom(l.at.Addr(), 1) }

func (l *fakeLoan) Permit(ctx context.Context, addrs ...netip.Addr) error {
	if l.relay.hold != nil {
		select {
		case <-l.relay.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.permitted = append(l.permitted, addrs...)
	return nil
}

func (l *fakeLoan) Accept(ctx context.Context) (*net.TCPConn, netip.AddrPort, error) {
	unhook := context.AfterFunc(ctx, func() { l.ln.SetDeadline(time.Unix(1, 0)) })
	defer unhook()
	for {
		conn, err := l.ln.AcceptTCP()
		if err != nil {
			return nil, netip.AddrPort{}, err
		}
		peer := remoteAddr(conn)
		l.mu.Lock()
		ok := slices.Contains(l.permitted, peer.Addr())
		l.mu.Unlock()
		if ok {
			return conn, peer, nil
		}
		conn.SetLinger(0)
		conn.Close()
	}
}

func (l *fakeLoan) Connect(context.Context, netip.AddrPort) (*net.TCPConn, error) {
	return nil, errors.ErrUnsupported
}

func (l *fakeLoan) end(err error) {
	l.once.Do(func() {
		l.err = err
		l.ln.Close()
		close(l.done)
	})
}

func (l *fakeLoan) Close() error { l.end(net.ErrClosed); return nil }

func (l *fakeLoan) Done() <-chan struct{} { return l.done }

func (l *fakeLoan) Err() error {
	select {
	case <-l.done:
		return l.err
	default:
		return nil
	}
}

// refusal is an error of a relay that gave a reason.
type refusal reason.Code

func (r refusal) Error() string { return "refused with " + string(r) }

func (r refusal) Reason() reason.Code { return reason.Code(r) }

// filtered makes every direct address of an offer one where nobody listens.
func filtered(t testing.TB) func(Offer) Offer {
	t.Helper()
	closed := func(a netip.Addr) uint16 {
		ln, err := listen(netip.AddrPortFrom(a, 0))
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		return unmapped(ln.Addr()).Port()
	}
	port := closed(lo4)
	return func(o Offer) Offer {
		o.Candidates = slices.Clone(o.Candidates)
		for i, c := range o.Candidates {
			o.Candidates[i].Addr = netip.AddrPortFrom(c.Addr.Addr(), port)
		}
		return o
	}
}
