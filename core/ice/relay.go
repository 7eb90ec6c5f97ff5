package ice

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"traverse.internal/core/reason"
	"traverse.internal/core/turnclient"
)

// lender is a TCP allocation at a relay: core/turnclient's, or one that a test makes.
type lender interface {
	Relayed() netip.AddrPort                               // where peers dial
	Mapped() netip.AddrPort                                // how the relay sees us
	Permit(ctx context.Context, addrs ...netip.Addr) error // those of its family; fails if it permits none
	Accept(ctx context.Context) (conn *net.TCPConn, peer netip.AddrPort, err error)
	Connect(ctx context.Context, peer netip.AddrPort) (*net.TCPConn, error) // by the relay, from the relayed address
	Close() error
	Done() <-chan struct{}
	Err() error
}

// lent is one of our allocations.
type lent struct {
	lender
	relay Relay
	once  sync.Once
}

// RelayError says why a relay lent nothing.
type RelayError struct {
	Server string
	Err    error
}

func (e *RelayError) Error() string { return fmt.Sprintf("ice: relay %s: %v", e.Server, e.Err) }

func (e *RelayError) Unwrap() error { return e.Err }

// Reason is the cause's, or RELAY_UNREACHABLE: whatever goes wrong without the relay saying so, it did not answer.
func (e *RelayError) Reason() reason.Code {
	if code := reason.Of(e.Err); code != "" {
		return code
	}
	return reason.RelayUnreachable
}

// giveBack ends an allocation in the background, once. After the endpoint's Close it waits for the relay itself.
func (e *Endpoint) giveBack(l *lent) { e.release(&l.once, l.Close) }

func (e *Endpoint) release(once *sync.Once, end func() error) {
	once.Do(func() {
		e.mu.Lock()
		if e.closed {
			e.mu.Unlock()
			_ = end()
			return
		}
		e.wg.Add(1)
		e.mu.Unlock()
		go e.closeLent(end)
	})
}

func (e *Endpoint) closeLent(end func() error) {
	defer e.wg.Done()
	_ = end()
}

// allocateAll asks every relay for an address of each family, all at once, and returns what came and why the rest did not.
func (a *Attempt) allocateAll(ctx context.Context) (got []*lent, udp []*lentUDP, failed []error) {
	type result struct {
		lent *lent
		udp  *lentUDP
		err  error
	}
	e := a.ep
	relays := e.servers.Load().relays
	results := make([][2]result, len(relays))
	var wg sync.WaitGroup
	for i, r := range relays {
		for f := range results[i] {
			wg.Go(func() {
				var l *lent
				err := error(turnclient.ErrTransport) // as a relay without TCP ports says
				if e.cfg.uses(TypeRelay, true) {
					l, err = e.allocateOne(a.tcpShare(ctx, r), r, f == 1)
				}
				x := result{lent: l, err: err}
				if err != nil || e.suspected() {
					x.udp = a.borrowUDP(ctx, r, f == 1, err)
				}
				results[i][f] = x
			})
		}
	}
	wg.Wait()
	for i, families := range results {
		var errs []error
		for _, r := range families {
			if r.udp != nil {
				udp = append(udp, r.udp)
			}
			switch {
			case r.err == nil:
				got = append(got, r.lent)
				e.stats.allocations.Add(1)
			case r.udp == nil:
				errs = append(errs, r.err)
			}
		}
		if len(errs) == len(families) {
			e.stats.relayFailures.Add(1)
			failed = append(failed, &RelayError{relays[i].Server, worst(errs)})
		}
	}
	return got, a.firstOfEach(udp), failed
}

// tcpShare is the time that a relay has for TCP: three quarters, where it may be asked over UDP afterwards.
func (a *Attempt) tcpShare(ctx context.Context, r Relay) context.Context {
	until, ok := ctx.Deadline()
	if !ok || a.udp == nil || r.TLS != nil {
		return ctx
	}
	share, cancel := context.WithDeadline(ctx, time.Now().Add(time.Until(until)*3/4))
	context.AfterFunc(ctx, cancel)
	return share
}

// worst returns the error that says most: one with a reason before one without, the first of equals.
func worst(errs []error) error {
	for _, err := range errs {
		if reason.Of(err) != "" {
			return err
		}
	}
	return errs[0]
}

func (e *Endpoint) allocateOne(ctx context.Context, r Relay, v6 bool) (*lent, error) {
	l, err := e.cfg.allocate(ctx, r, v6)
	if err != nil {
		return nil, err
	}
	if what := checkAddrPort(l.Relayed()); what != "" || l.Relayed().Addr().Is4() == v6 {
		l.Close()
		return nil, fmt.Errorf("ice: relayed address %v is of no use", l.Relayed())
	}
	return &lent{lender: l, relay: r}, nil
}

// Gather begins an attempt: it lists our addresses and asks the relays for theirs, within a bound that keeps a dead relay
// from delaying a direct path. A relay's failure is in RelayErr; it is fatal only if relayed paths are all we want.
func (e *Endpoint) Gather(ctx context.Context) (*Attempt, error) {
	return e.GatherWith(ctx, e.cfg.Policy)
}

func (e *Endpoint) begin(ctx context.Context, a *Attempt) (*Attempt, error) {
	if err := e.remember(a); err != nil {
		return nil, err
	}
	e.stats.attempts.Add(1)
	if err := a.gather(ctx); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func (a *Attempt) gather(ctx context.Context) error {
	cfg := &a.ep.cfg
	own, err := hosts(cfg)
	if err != nil {
		return err
	}
	for _, h := range own {
		a.hosts = append(a.hosts, netip.AddrPortFrom(h, a.ep.port))
	}
	if a.udp != nil {
		defer a.startUDP(ctx)()
	}
	if len(a.ep.servers.Load().relays) == 0 {
		return nil
	}
	limit := cfg.GatherTimeout
	if a.wants == RelayOnly || len(a.hosts) == 0 {
		limit = cfg.RelayGatherTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	unhook := context.AfterFunc(a.ctx, cancel)
	defer unhook()
	var wg sync.WaitGroup
	var reflections []*reflection
	if a.wants != RelayOnly && cfg.uses(TypeSrflx, true) {
		wg.Go(func() { reflections = a.ep.reflectAll(ctx, a.hosts) })
	}
	var got []*lent
	var udp []*lentUDP
	var failed []error
	if a.wants != DirectOnly && (cfg.uses(TypeRelay, true) || cfg.uses(TypeRelay, false)) {
		got, udp, failed = a.allocateAll(ctx)
	}
	wg.Wait()
	a.relayErrs = failed
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stage == over {
		for _, f := range reflections {
			a.ep.unreflect(f)
		}
		for _, l := range got {
			a.ep.giveBack(l)
		}
		for _, l := range udp {
			a.ep.giveBackUDP(l)
		}
		return ErrClosed
	}
	a.lent, a.lentUDP, a.reflections = got, udp, reflections
	if a.wants == RelayOnly && len(got)+len(udp) == 0 {
		return &NoPathError{Code: reason.Of(a.RelayErr()), Policy: RelayOnly, Err: a.RelayErr()}
	}
	for _, l := range got {
		a.wg.Add(1)
		go a.relayLoop(l)
	}
	return nil
}

// relayLoop takes the connections that peers make to one of our relayed addresses.
func (a *Attempt) relayLoop(l *lent) {
	defer a.wg.Done()
	for {
		conn, peer, err := l.Accept(a.ctx)
		if err != nil {
			return
		}
		select {
		case a.relaySlots <- struct{}{}:
			a.mu.Lock()
			ok := a.stage != over
			if ok {
				a.wg.Add(1)
			}
			a.mu.Unlock()
			if ok {
				go a.admitRelayed(l, conn, peer)
				continue
			}
		default:
			a.ep.stats.refused.Add(1)
		}
		conn.Close()
	}
}

// admitRelayed reads the first frame of a connection through our relay, as the endpoint does for those to its listeners,
// and holds it back until relayed paths may be used.
func (a *Attempt) admitRelayed(l *lent, conn *net.TCPConn, peer netip.AddrPort) {
	defer a.wg.Done()
	defer func() { <-a.relaySlots }()
	unhook := context.AfterFunc(a.ctx, func() { conn.Close() })
	found, frame := a.ep.route(conn)
	if unhook() && found == a {
		select {
		case <-a.gate:
			s := &stream{conn: conn, peer: netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()), lent: l, relay: l.Relayed()}
			if a.attach(s, frame) == nil {
				return
			}
		case <-a.ctx.Done():
		}
	}
	conn.Close()
}

// permitTimeout bounds how long a relay may take to permit a peer.
const permitTimeout = 2 * time.Second

// Permit tells our relays which addresses the peer will dial from, and sets the policy that rules, which Offer then
// follows. The answerer calls it before it answers (PROTOCOL.md 3); Negotiate does if nobody has. It fails only if the
// attempt is over: a relay that refuses is one path less, and policies that exclude each other are answered all the same,
// so that the caller learns from the answer why there is no path.
func (a *Attempt) Permit(ctx context.Context, remote Offer) error {
	policy, err := agree(a.wants, remote.Policy)
	if err != nil {
		policy = a.wants
		remote = Offer{} // whom nothing is permitted to
	}
	a.mu.Lock()
	if a.stage == over {
		a.mu.Unlock()
		return ErrClosed
	}
	a.policy, a.permitted = policy, true
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, permitTimeout)
	defer cancel()
	a.borrowLate(ctx, &remote)
	a.mu.Lock()
	datagrams := a.lentUDP
	a.mu.Unlock()
	var wg sync.WaitGroup
	for _, l := range datagrams {
		if policy == DirectOnly {
			a.ep.giveBackUDP(l)
			continue
		}
		wg.Go(func() { _ = l.Permit(ctx, remote.permits(a.ep.cfg.Loopback)...) })
	}
	for _, l := range a.lent {
		if policy == DirectOnly {
			a.ep.giveBack(l)
			continue
		}
		wg.Go(func() { _ = l.Permit(ctx, remote.permits(a.ep.cfg.Loopback)...) }) // the others may serve
	}
	wg.Wait()
	return nil
}
