package turnclient

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"

	"traverse.internal/core/stun"
)

// MaxPermissions bounds the addresses of one allocation: one CreatePermission of 64 * 24 bytes, and the credentials.
const MaxPermissions = 64

// maxPermits bounds the requests in flight when addresses are asked for one by one.
const maxPermits = 8

// Permit lets peers at the given addresses, from any port, dial the relayed address, and keeps the permissions alive until
// Close. Addresses of the other family are left out, as are those that have a permission already.
//
// All addresses go in one request. A relay that forbids one of them (its own network, say) refuses the request as a whole;
// then they are asked for one by one. Permit fails if a request got no answer or if every address was refused; Permitted
// tells which were not. More than MaxPermissions give ErrLimit, and nothing is asked for.
func (a *lease) Permit(ctx context.Context, addrs ...netip.Addr) error {
	wanted, err := a.missing(addrs)
	if err != nil || len(wanted) == 0 {
		return err
	}
	granted, err := a.permit(ctx, wanted)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asking -= len(wanted)
	for _, p := range granted {
		a.peers[p] = struct{}{}
	}
	return err
}

// Permitted returns the addresses that have a permission.
func (a *lease) Permitted() []netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]netip.Addr, 0, len(a.peers))
	for p := range a.peers {
		all = append(all, p)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// missing returns the addresses that can have a permission and do not, each once, and reserves places for them.
func (a *lease) missing(addrs []netip.Addr) (wanted []netip.Addr, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range addrs {
		p = p.Unmap().WithZone("")
		if !p.IsValid() || FamilyOf(p) != a.family || p.IsUnspecified() || p.IsMulticast() {
			continue
		}
		if _, ok := a.peers[p]; !ok && !slices.Contains(wanted, p) {
			wanted = append(wanted, p)
		}
		if len(a.peers)+a.asking+len(wanted) > MaxPermissions {
			return nil, ErrLimit
		}
	}
	a.asking += len(wanted)
	return wanted, nil
}

// permit asks for addrs and returns those that were granted. The error is nil if there are any.
func (a *lease) permit(ctx context.Context, addrs []netip.Addr) ([]netip.Addr, error) {
	err := a.createPermission(ctx, addrs)
	if err == nil {
		return addrs, nil
	}
	if len(addrs) == 1 || !forbids(err) {
		return nil, err
	}
	errs := make([]error, len(addrs))
	slots := make(chan struct{}, maxPermits)
	var wg sync.WaitGroup
	for i := range addrs {
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = a.createPermission(ctx, addrs[i:i+1])
			<-slots
		})
	}
	wg.Wait()
	var granted []netip.Addr
	for i, p := range addrs {
		switch {
		case errs[i] == nil:
			granted = append(granted, p)
		case !forbids(errs[i]):
			return granted, errs[i]
		}
	}
	if len(granted) == 0 {
		return nil, err
	}
	return granted, nil
}

// forbids reports whether err speaks of a peer's address and not of us or of the relay.
func forbids(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Code == stun.CodeForbidden || e.Code == stun.CodePeerFamilyMismatch)
}

// createPermission asks for addrs in one request, which is granted or refused as a whole (RFC 8656 §10.2).
func (a *lease) createPermission(ctx context.Context, addrs []netip.Addr) error {
	_, err := a.c.do(ctx, stun.MethodCreatePermission, a.c.cfg.Timeout, func(b *stun.Builder) {
		for _, p := range addrs {
			// The port means nothing here, but a server may dislike 0.
			b.AddXORAddr(stun.AttrXORPeerAddress, netip.AddrPortFrom(p, 1))
		}
	})
	return err
}

// renewPermissions refreshes all permissions and forgets those that the relay refuses by now.
func (a *lease) renewPermissions(ctx context.Context) error {
	peers := a.Permitted()
	if len(peers) == 0 {
		return nil
	}
	granted, err := a.permit(ctx, peers)
	if err != nil && !forbids(err) {
		return err
	}
	a.c.stats.refreshes.Add(1)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range peers {
		if !slices.Contains(granted, p) {
			delete(a.peers, p)
		}
	}
	return nil
}
