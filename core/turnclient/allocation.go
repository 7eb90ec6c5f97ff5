package turnclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"traverse.internal/core/stun"
)

// Family is the address family of a relayed address. It need not be that of the control connection.
type Family uint8

// The two families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// String returns "IPv4" or "IPv6".
func (f Family) String() string {
	if f == IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

// FamilyOf returns the family of an address; one that wraps IPv4 in IPv6 is IPv4.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// Allocation is a TCP port at the relay that is ours until Close. Safe for concurrent use.
type Allocation struct {
	lease
	accepted chan accepted // from the bindLoops to Accept, without a queue
}

// lease is what allocations of both transports are: a relayed address, those who may use it, and the time that it has.
type lease struct {
	c       *Client
	family  Family
	relayed netip.AddrPort
	mapped  netip.AddrPort
	renew   func(context.Context) error // what has to be kept alive besides permissions; nil: nothing

	farewell sync.Once

	mu     sync.Mutex // guards the fields below
	peers  map[netip.Addr]struct{}
	asking int // addresses that Permit is asking for: they count against MaxPermissions
}

// accepted is a data connection that is bound and that nobody has taken yet.
type accepted struct {
	conn *net.TCPConn
	peer netip.AddrPort
}

// Allocate asks for a TCP port of the given family. The error is an *Error (which is ErrFamily when the relay has no such
// address), an *UnreachableError, ErrAllocated or ErrClosed. After a refusal the client may try again.
func (c *Client) Allocate(ctx context.Context, family Family) (*Allocation, error) {
	a := &Allocation{lease: newLease(c, family), accepted: make(chan accepted)}
	lifetime, err := a.ask(ctx, stun.TransportTCP) // RFC 6062 §4.1
	if err != nil {
		return nil, err
	}
	loops := []func(){func() { a.keepLoop(lifetime) }}
	for range maxBinds {
		loops = append(loops, a.bindLoop)
	}
	if err := c.start(loops...); err != nil {
		return nil, err
	}
	return a, nil
}

func newLease(c *Client, family Family) lease {
	return lease{c: c, family: family, peers: make(map[netip.Addr]struct{})}
}

// ask makes the allocation and returns how long it lives.
func (a *lease) ask(ctx context.Context, transport stun.Transport) (time.Duration, error) {
	if !a.c.claim(a) {
		return 0, ErrAllocated
	}
	m, err := a.c.do(ctx, stun.MethodAllocate, a.c.cfg.Timeout, func(b *stun.Builder) {
		b.AddRequestedTransport(transport)
		if a.family == IPv6 {
			// Without it the relay is IPv4. It is never sent for IPv4: servers older than RFC 6156 refuse it.
			b.AddFamily(stun.AttrRequestedAddressFamily, stun.FamilyIPv6)
		}
	})
	if err != nil {
		a.c.unclaim()
		return 0, err
	}
	lifetime, err := a.take(m)
	if err != nil {
		// The server holds an allocation that is of no use; ending the connection ends it too.
		a.c.fail(err)
		return 0, err
	}
	return lifetime, nil
}

// claim makes a the client's allocation if it has none.
func (c *Client) claim(a *lease) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.alloc != nil {
		return false
	}
	c.alloc = a
	return true
}

func (c *Client) unclaim() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alloc = nil
}

// take reads a success response.
func (a *lease) take(m stun.Message) (lifetime time.Duration, err error) {
	bad := func(what string, err error) error {
		return &UnreachableError{a.c.server, stun.MethodAllocate.String(), fmt.Errorf("%w: %s: %w", ErrGarbage, what, err)}
	}
	if a.relayed, err = m.XORAddr(stun.AttrXORRelayedAddress); err != nil {
		return 0, bad("relayed address", err)
	}
	if a.mapped, err = m.XORAddr(stun.AttrXORMappedAddress); err != nil {
		return 0, bad("mapped address", err)
	}
	if lifetime, err = lifetimeOf(m); err != nil {
		return 0, bad("lifetime", err)
	}
	a.relayed = netip.AddrPortFrom(a.relayed.Addr().Unmap(), a.relayed.Port())
	a.mapped = netip.AddrPortFrom(a.mapped.Addr().Unmap(), a.mapped.Port())
	if FamilyOf(a.relayed.Addr()) != a.family {
		// A server that does not know the attribute and should have refused it.
		return 0, fmt.Errorf("%w: asked for %v, got %v", ErrFamily, a.family, a.relayed)
	}
	if a.relayed.Port() == 0 || a.relayed.Addr().IsUnspecified() {
		return 0, bad("relayed address", fmt.Errorf("%v cannot be dialled", a.relayed))
	}
	return lifetime, nil
}

// lifetimeOf reads LIFETIME, which is never 0 in an answer to a request that wanted time.
func lifetimeOf(m stun.Message) (time.Duration, error) {
	s, err := m.Uint32(stun.AttrLifetime)
	if err == nil && s == 0 {
		err = stun.ErrMalformed
	}
	return time.Duration(s) * time.Second, err
}

// Relayed returns the address that peers dial.
func (a *lease) Relayed() netip.AddrPort { return a.relayed }

// Mapped returns our address as the relay sees it.
func (a *lease) Mapped() netip.AddrPort { return a.mapped }

// Done is closed when the allocation has ended: by Close, with the control connection, or because the relay forgot it.
// The relay closes its data connections with it.
func (a *lease) Done() <-chan struct{} { return a.c.Done() }

// Err returns nil while the allocation is alive, and then why it is not: ErrClosed after Close.
func (a *lease) Err() error { return a.c.Err() }

// Stats returns the client's counters.
func (a *lease) Stats() Stats { return a.c.Stats() }

// closeTimeout bounds the farewell. The connection's end says the same, only not through every proxy.
const closeTimeout = time.Second

// Close gives the port back, ends the control connection and waits for all that was started. Data connections are closed
// by the relay. It takes at most closeTimeout, is idempotent and returns nil.
func (a *lease) Close() error {
	a.farewell.Do(func() {
		if a.Err() != nil {
			return
		}
		late := time.AfterFunc(closeTimeout, func() { a.c.fail(ErrClosed) })
		defer late.Stop()
		// RFC 8656 §7: a lifetime of 0 deletes. Whatever comes back, we are done with it.
		_, _ = a.c.do(context.Background(), stun.MethodRefresh, closeTimeout, func(b *stun.Builder) {
			b.AddUint32(stun.AttrLifetime, 0)
		})
	})
	return a.c.Close()
}

// Times of keepLoop.
const (
	refreshMargin     = 60 * time.Second  // before the end of the lifetime: six tries
	refreshRetry      = 10 * time.Second  // after one that failed
	permissionRefresh = 240 * time.Second // of the 300 s that a permission lives (RFC 8656 §9): again six tries
)

// refreshAfter returns when to refresh an allocation of the given lifetime.
func refreshAfter(lifetime time.Duration) time.Duration {
	if lifetime < 2*refreshMargin {
		return lifetime / 2
	}
	return lifetime - refreshMargin
}

// keepLoop keeps the allocation and its permissions alive until the client ends.
func (a *lease) keepLoop(lifetime time.Duration) {
	end := time.Now().Add(lifetime)
	refresh := time.NewTimer(refreshAfter(lifetime))
	defer refresh.Stop()
	permissions := time.NewTimer(permissionRefresh)
	defer permissions.Stop()
	for {
		select {
		case <-a.c.life.Done():
			return
		case <-refresh.C:
			lifetime, err := a.refresh(a.c.life)
			switch {
			case err == nil:
				end = time.Now().Add(lifetime)
				refresh.Reset(refreshAfter(lifetime))
			case isGone(err) || !time.Now().Before(end):
				a.c.fail(err)
			default:
				refresh.Reset(refreshRetry)
			}
		case <-permissions.C:
			if a.renewAll(a.c.life) == nil {
				permissions.Reset(permissionRefresh)
			} else {
				permissions.Reset(refreshRetry)
			}
		}
	}
}

// renewAll keeps alive what lives less long than the allocation.
func (a *lease) renewAll(ctx context.Context) error {
	err := a.renewPermissions(ctx)
	if a.renew != nil {
		err = errors.Join(err, a.renew(ctx))
	}
	return err
}

// refresh asks for the default lifetime once more.
func (a *lease) refresh(ctx context.Context) (time.Duration, error) {
	m, err := a.c.do(ctx, stun.MethodRefresh, a.c.cfg.Timeout, func(*stun.Builder) {})
	if err != nil {
		return 0, err
	}
	a.c.stats.refreshes.Add(1)
	return lifetimeOf(m)
}

// isGone reports whether the relay says that there is no such allocation.
func isGone(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == stun.CodeAllocationMismatch
}
