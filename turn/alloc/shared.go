package alloc

import (
	"net/netip"
	"time"
)

// Peers tells the allocations apart that share a relayed address, by whom they talk to. It is guarded as their Table is, which
// has to be the same for all of them.
//
// An allocation claims a peer's address and port when it sends there or names it in a request; nobody else can have it until
// the permission ends. What comes from a port that nobody has claimed is for the allocation that alone permits the
// address, and for nobody when several do.
type Peers struct {
	claims map[netip.AddrPort]*Allocation
	hosts  map[netip.Addr]*permission // of all allocations, those of one address in a list
}

// NewPeers returns one without any.
func NewPeers() *Peers {
	return &Peers{claims: make(map[netip.AddrPort]*Allocation), hosts: make(map[netip.Addr]*permission)}
}

// seat is a permission's place among those of other allocations.
type seat struct {
	prev, next *permission
	owner      *Allocation
	seated     bool
	claims     []netip.AddrPort // of the permission's address
}

// Owner returns whom a datagram is for, by who sent it. It is nil when nobody permits that, and when several do and none has
// claimed it. The time it takes does not grow with how many there are: an ended permission is passed once.
func (s *Peers) Owner(now time.Time, from netip.AddrPort) (owner *Allocation, ambiguous bool) {
	ip := from.Addr()
	if a := s.claims[from]; a != nil && a.Permitted(now, ip) {
		return a, false
	}
	for p := s.hosts[ip]; p != nil; {
		next := p.next
		switch {
		case !now.Before(p.expires):
			s.unseat(ip, p)
		case owner != nil:
			return nil, true
		default:
			owner = p.owner
		}
		p = next
	}
	return owner, false
}

func (s *Peers) seat(ip netip.Addr, p *permission, owner *Allocation) {
	if p.seated {
		return
	}
	p.seated, p.owner, p.next = true, owner, s.hosts[ip]
	if p.next != nil {
		p.next.prev = p
	}
	s.hosts[ip] = p
}

func (s *Peers) unseat(ip netip.Addr, p *permission) {
	if !p.seated {
		return
	}
	switch {
	case p.prev != nil:
		p.prev.next = p.next
	case p.next != nil:
		s.hosts[ip] = p.next
	default:
		delete(s.hosts, ip)
	}
	if p.next != nil {
		p.next.prev = p.prev
	}
	p.prev, p.next, p.seated = nil, nil, false
}

// leave forgets a permission with what was claimed under it.
func (s *Peers) leave(ip netip.Addr, p *permission, owner *Allocation) {
	s.unseat(ip, p)
	for _, peer := range p.claims {
		delete(s.claims, peer)
	}
	owner.claimed -= len(p.claims)
	p.claims = nil
}

// peersOf returns what tells the allocation from others at its relayed address of a peer's family, or nil when it shares that
// with nobody.
func (a *Allocation) peersOf(peer netip.Addr) *Peers {
	if i := a.half(peer.Is4()); i >= 0 {
		return a.shared[i]
	}
	return nil
}

// Taken says whether another allocation of the same relayed address has the peer.
func (t *Table) Taken(now time.Time, a *Allocation, peer netip.AddrPort) bool {
	s := a.peersOf(peer.Addr())
	if s == nil {
		return false
	}
	other := s.claims[peer]
	taken := other != nil && other != a && other.Permitted(now, peer.Addr())
	if taken {
		t.Refused[QuotaShared]++
	}
	return taken
}

// Claim gives a permitted peer to the allocation, or says that another has it, or that this one has too many: as many as it
// may have permissions, besides those of its channels. Where nothing is shared it is always true.
func (t *Table) Claim(now time.Time, a *Allocation, peer netip.AddrPort) bool {
	return t.claim(now, a, peer, t.limits.Permissions)
}

func (t *Table) claim(now time.Time, a *Allocation, peer netip.AddrPort, limit int) bool {
	s := a.peersOf(peer.Addr())
	if s == nil {
		return true
	}
	other := s.claims[peer]
	if other == a {
		return true
	}
	p := a.permissions[peer.Addr()]
	if p == nil || other != nil && other.Permitted(now, peer.Addr()) {
		return false
	}
	if a.claimed >= limit {
		t.Refused[QuotaShared]++
		return false
	}
	if other != nil {
		other.lose(peer)
	}
	s.claims[peer] = a
	p.claims = append(p.claims, peer)
	a.claimed++
	return true
}

// lose takes a claim away whose permission has ended, and the channel to the peer with it: otherwise what is sent there once
// the permission is renewed would be answered to somebody else.
func (a *Allocation) lose(peer netip.AddrPort) {
	a.unbind(a.byPeer[peer])
	p := a.permissions[peer.Addr()]
	for i, one := range p.claims {
		if one == peer {
			p.claims = append(p.claims[:i], p.claims[i+1:]...)
			a.claimed--
			break
		}
	}
}

// roomForClaim says whether a channel to the peer can be told from others'.
func (t *Table) roomForClaim(now time.Time, a *Allocation, peer netip.AddrPort) bool {
	if t.Taken(now, a, peer) {
		return false
	}
	if a.claimed < t.limits.Permissions+t.limits.Channels {
		return true
	}
	a.sweepPermissions(now, nil)
	if a.claimed < t.limits.Permissions+t.limits.Channels {
		return true
	}
	t.Refused[QuotaShared]++
	return false
}
