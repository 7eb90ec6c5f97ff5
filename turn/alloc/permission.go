package alloc

import (
	"net/netip"
	"time"
)

// permission lets one address through, whatever its port: RFC 8656 §9.
type permission struct {
	expires  time.Time
	channels int // that point here; while there are any, an expired permission is kept for its next renewal
	seat         // where the relayed address is shared
}

// channel is a number that stands for a peer in ChannelData messages.
type channel struct {
	number     uint16
	peer       netip.AddrPort
	expires    time.Time
	permission *permission // of peer.Addr(); the same one that Permitted finds
}

// MinChannel is the lowest channel number: RFC 8656 §12.
const MinChannel = 0x4000

// Permit installs or renews permissions for all the addresses, or for none of them: RFC 8656 §10.2.
func (t *Table) Permit(now time.Time, a *Allocation, peers []netip.Addr) Verdict {
	fresh := 0
	for i, peer := range peers {
		if !a.SameFamily(peer) {
			return FamilyMismatch
		}
		if a.permissions[peer] == nil && !contains(peers[:i], peer) {
			fresh++
		}
	}
	if !t.roomForPermissions(now, a, fresh, peers) || !t.meet(a, fresh) {
		return InsufficientCapacity
	}
	for _, peer := range peers {
		a.permit(now, peer)
	}
	return OK
}

// meet charges an allocation's user and source with n new peers.
func (t *Table) meet(a *Allocation, n int) bool {
	quota, ok := a.Held.meet(n)
	if !ok {
		t.Refused[quota]++
	}
	return ok
}

// BindChannel binds the number to the peer or renews the binding, and with it the permission: RFC 8656 §12.2. A
// conflict changes nothing.
func (t *Table) BindChannel(now time.Time, a *Allocation, number uint16, peer netip.AddrPort) Verdict {
	if number < MinChannel || number > t.limits.MaxChannel {
		return BadRequest
	}
	if !a.SameFamily(peer.Addr()) {
		return FamilyMismatch
	}
	byNumber, byPeer := live(now, a.byNumber[number]), live(now, a.byPeer[peer])
	if byNumber != byPeer { // one of them is bound otherwise
		return BadRequest
	}
	if s := a.peersOf(peer.Addr()); s != nil && s.claims[peer] != a && !t.roomForClaim(now, a, peer) {
		return InsufficientCapacity
	}
	if byNumber == nil && !t.roomForChannel(now, a) {
		return InsufficientCapacity
	}
	if a.permissions[peer.Addr()] == nil && (!t.roomForPermissions(now, a, 1, nil) || !t.meet(a, 1)) {
		return InsufficientCapacity
	}
	if byNumber == nil {
		// Expired leftovers of the number and of the peer make room here; each is in both maps.
		a.unbind(a.byNumber[number])
		a.unbind(a.byPeer[peer])
		byNumber = &channel{number: number, peer: peer}
		if a.byNumber == nil {
			a.byNumber = make(map[uint16]*channel)
			a.byPeer = make(map[netip.AddrPort]*channel)
		}
		a.byNumber[number], a.byPeer[peer] = byNumber, byNumber
		a.Held.count(0, 1)
	}
	byNumber.expires = now.Add(ChannelLifetime)
	p := a.permit(now, peer.Addr())
	if byNumber.permission == nil {
		byNumber.permission = p
		p.channels++
	}
	t.claim(now, a, peer, t.limits.Permissions+t.limits.Channels) // which the room above is for
	return OK
}

// permit installs or renews one permission.
func (a *Allocation) permit(now time.Time, peer netip.Addr) *permission {
	p := a.permissions[peer]
	if p == nil {
		p = new(permission)
		if a.permissions == nil {
			a.permissions = make(map[netip.Addr]*permission)
		}
		a.permissions[peer] = p
		a.Held.count(1, 0)
	}
	p.expires = now.Add(PermissionLifetime)
	if s := a.peersOf(peer); s != nil {
		s.seat(peer, p, a)
	}
	return p
}

func (a *Allocation) unbind(c *channel) {
	if c != nil {
		c.permission.channels--
		delete(a.byNumber, c.number)
		delete(a.byPeer, c.peer)
		if a.last == c {
			a.last = nil
		}
		a.Held.count(0, -1)
	}
}

// forget takes a permission out.
func (a *Allocation) forget(peer netip.Addr) {
	if s := a.peersOf(peer); s != nil {
		s.leave(peer, a.permissions[peer], a)
	}
	delete(a.permissions, peer)
	a.Held.count(-1, 0)
}

// roomForPermissions makes room by forgetting expired permissions, except those of the addresses in keep.
func (t *Table) roomForPermissions(now time.Time, a *Allocation, fresh int, keep []netip.Addr) bool {
	if fresh == 0 {
		return true
	}
	enough := func() (Quota, bool) {
		if len(a.permissions)+fresh > t.limits.Permissions {
			return QuotaPermissions, false
		}
		return a.Held.room(&t.limits, fresh, 0)
	}
	if _, ok := enough(); ok {
		return true
	}
	a.sweepPermissions(now, keep)
	quota, ok := enough()
	if !ok {
		t.Refused[quota]++
	}
	return ok
}

// roomForChannel makes room by forgetting expired channels.
func (t *Table) roomForChannel(now time.Time, a *Allocation) bool {
	enough := func() (Quota, bool) {
		if len(a.byNumber) >= t.limits.Channels {
			return QuotaChannels, false
		}
		return a.Held.room(&t.limits, 0, 1)
	}
	if _, ok := enough(); ok {
		return true
	}
	a.sweepChannels(now)
	quota, ok := enough()
	if !ok {
		t.Refused[quota]++
	}
	return ok
}

func (a *Allocation) sweepChannels(now time.Time) {
	for _, c := range a.byNumber {
		if live(now, c) == nil {
			a.unbind(c)
		}
	}
}

func (a *Allocation) sweepPermissions(now time.Time, keep []netip.Addr) {
	for peer, p := range a.permissions {
		if !now.Before(p.expires) && p.channels == 0 && !contains(keep, peer) {
			a.forget(peer)
		}
	}
}

// live returns c unless its time is over.
func live(now time.Time, c *channel) *channel {
	if c == nil || !now.Before(c.expires) {
		return nil
	}
	return c
}

func contains(list []netip.Addr, addr netip.Addr) bool {
	for _, other := range list {
		if other == addr {
			return true
		}
	}
	return false
}
