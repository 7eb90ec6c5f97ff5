package alloc

import (
	"net/netip"
	"time"
)

// half is one relayed address of an allocation: a dual allocation has one of each family, any other only the first.
type half struct {
	expires time.Time
	timer   timer
	live    bool
}

// half returns which relayed address peers of a family are reached from, or -1.
func (a *Allocation) half(is4 bool) int {
	switch {
	case a.Relayed.Addr().Is4() == is4:
		return 0
	case a.Second.IsValid() && a.Second.Addr().Is4() == is4:
		return 1
	}
	return -1
}

func (a *Allocation) relayed(i int) netip.AddrPort { return [2]netip.AddrPort{a.Relayed, a.Second}[i] }

// Serves says whether there is a relayed address of the family and it has not ended.
func (a *Allocation) Serves(is4 bool) bool {
	i := a.half(is4)
	return i >= 0 && a.halves[i].live
}

// RefreshHalf starts the lifetime of one relayed address anew, which Serves has said is there: RFC 8656 §8.2.
func (t *Table) RefreshHalf(now time.Time, a *Allocation, is4 bool, seconds uint32) time.Duration {
	lifetime := t.limits.Lifetime(seconds)
	t.renew(now.Add(lifetime), a, a.half(is4))
	return lifetime
}

// EndHalf ends one relayed address with the permissions and channels of its family, and leaves the other's alone: RFC 8656
// §8.1. It says false, and changes nothing, when it is the last one: that is a Remove.
func (t *Table) EndHalf(a *Allocation, is4 bool) bool {
	i := a.half(is4)
	if !a.halves[1-i].live || !a.halves[i].live {
		return false
	}
	a.halves[i].live = false
	t.wheel.disarm(&a.halves[i].timer)
	for _, c := range a.byNumber {
		if c.peer.Addr().Is4() == is4 {
			a.unbind(c)
		}
	}
	for ip := range a.permissions {
		if ip.Is4() == is4 {
			a.forget(ip)
		}
	}
	a.Expires = a.halves[1-i].expires
	return true
}

// renew sets when a relayed address ends, and with it when the allocation does: with its last one.
func (t *Table) renew(end time.Time, a *Allocation, i int) {
	h := &a.halves[i]
	h.expires = end
	t.wheel.arm(&h.timer, end)
	a.Expires = end
	if other := &a.halves[1-i]; other.live && other.expires.After(end) {
		a.Expires = other.expires
	}
}

// Half is one relayed address of a dual allocation that ended while the other goes on.
type Half struct {
	Alloc *Allocation
	Addr  netip.AddrPort
}
