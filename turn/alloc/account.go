package alloc

import (
	"math"
	"net/netip"
	"sync/atomic"
	"time"
)

// Directions of what is relayed.
const (
	Up   = iota // client to peer
	Down        // peer to client
)

// unmetered is what a meter without a rate has: more than anybody moves between two refills.
const unmetered = math.MaxInt64 / 2

// Meter is a token bucket that somebody refills now and then. Spending takes one atomic operation or two and no clock.
// Safe for concurrent use; spenders at one moment may together take one grant each too many.
type Meter struct{ left atomic.Int64 }

// Left returns what may be spent now; what is not above 0 is nothing.
func (m *Meter) Left() int64 { return m.left.Load() }

// Spend takes n out. The last grant may be larger than what is left: the bucket then owes, and grants nothing until
// that is refilled.
func (m *Meter) Spend(n int) { m.left.Add(int64(-n)) }

// take takes at most n out, and not more than there is, and returns how much.
func (m *Meter) take(n int) int {
	for {
		left := m.left.Load()
		got := min(int64(n), left)
		if got <= 0 {
			return 0
		}
		if m.left.CompareAndSwap(left, left-got) {
			return int(got)
		}
	}
}

// refill adds what elapsed brings at a rate a second, up to burst. Rate 0 lifts the limit.
func (m *Meter) refill(rate, burst int64, elapsed time.Duration) {
	if rate == 0 {
		m.left.Store(unmetered)
		return
	}
	if m.left.Load() > burst { // it had no limit, or a higher one
		m.left.Store(burst)
		return
	}
	more := int64(float64(rate) * min(elapsed, time.Minute).Seconds())
	if left := m.left.Add(more); left > burst {
		m.left.Add(burst - left)
	}
}

// Account is what the allocations of one user, of one source, or of all, hold and spend together. The shards share it.
type Account struct {
	Moved [2]Meter // payload, by direction
	peers Meter    // new peers, in thousandths, so that a refill of less than one is not lost

	permissions, channels atomic.Int64

	allocations int // guarded as the ledger is
}

// Held are the accounts that an allocation counts in: its user's, its source's, and the server's.
type Held [3]*Account

// Holder is whose account of a Held it is.
const (
	holdUser = iota
	holdSource
	holdServer
)

// Afford says whether a packet of n bytes may pass, and takes it out of every account. Safe for concurrent use.
func (h *Held) Afford(direction, n int) bool {
	if h.Allowance(direction, n) == 0 {
		return false
	}
	h.Moved(direction, n)
	return true
}

// Allowance returns how many of want bytes may pass now, 0 for none.
func (h *Held) Allowance(direction, want int) int {
	for _, a := range h {
		if a != nil {
			want = int(min(int64(want), max(0, a.Moved[direction].Left())))
		}
	}
	return want
}

// Moved takes n bytes out of every account.
func (h *Held) Moved(direction, n int) {
	for _, a := range h {
		if a != nil {
			a.Moved[direction].Spend(n)
		}
	}
}

// Take takes at most want bytes out of every account, and returns how many: no more than the poorest has, whoever else takes at
// the same moment.
func (h *Held) Take(direction, want int) int {
	for i, a := range h {
		if a == nil {
			continue
		}
		got := a.Moved[direction].take(want)
		for _, richer := range h[:i] {
			if richer != nil && got < want {
				richer.Moved[direction].Spend(got - want)
			}
		}
		if want = got; want == 0 {
			break
		}
	}
	return want
}

// Return gives n of them back.
func (h *Held) Return(direction, n int) { h.Moved(direction, -n) }

// thousandths of a new peer.
const onePeer = 1000

// meet charges n new peers to user and source, or says which of the two has met too many.
func (h *Held) meet(n int) (Quota, bool) {
	if n == 0 {
		return 0, true
	}
	for i, quota := range [...]Quota{holdUser: QuotaUserPeers, holdSource: QuotaSourcePeers} {
		if h[i] != nil && h[i].peers.Left() < int64(n)*onePeer {
			return quota, false
		}
	}
	for _, a := range h[:holdServer] {
		if a != nil {
			a.peers.Spend(n * onePeer)
		}
	}
	return 0, true
}

// room says whether user and source may hold so many more permissions and channels, or which limit that breaks.
func (h *Held) room(l *Limits, permissions, channels int) (Quota, bool) {
	for i, limit := range [...]struct {
		permissions, channels     int
		ofPermissions, ofChannels Quota
	}{
		holdUser:   {l.UserPermissions, l.UserChannels, QuotaUserPermissions, QuotaUserChannels},
		holdSource: {l.SourcePermissions, l.SourceChannels, QuotaSourcePermissions, QuotaSourceChannels},
	} {
		a := h[i]
		switch {
		case a == nil:
		case permissions > 0 && a.permissions.Load()+int64(permissions) > int64(limit.permissions):
			return limit.ofPermissions, false
		case channels > 0 && a.channels.Load()+int64(channels) > int64(limit.channels):
			return limit.ofChannels, false
		}
	}
	return 0, true
}

// count adds to what is held.
func (h *Held) count(permissions, channels int) {
	for _, a := range h {
		if a != nil {
			a.permissions.Add(int64(permissions))
			a.channels.Add(int64(channels))
		}
	}
}

// Quota names a limit that a request ran into.
type Quota uint8

// The quotas, as metrics spell them.
const (
	QuotaUser Quota = iota
	QuotaSource
	QuotaServer
	QuotaPermissions
	QuotaChannels
	QuotaConns
	QuotaUserPermissions
	QuotaSourcePermissions
	QuotaUserChannels
	QuotaSourceChannels
	QuotaUserPeers
	QuotaSourcePeers
	QuotaShared // a peer that another allocation of a shared relayed address has
	NumQuotas
)

var quotaNames = [NumQuotas]string{
	"user_allocations", "source_allocations", "server_allocations", "allocation_permissions", "allocation_channels",
	"allocation_connections", "user_permissions", "source_permissions", "user_channels", "source_channels",
	"user_new_peers", "source_new_peers", "shared_peer",
}

// String returns the name.
func (q Quota) String() string { return quotaNames[q] }

// Refusals counts by quota.
type Refusals [NumQuotas]uint64

// Held returns the accounts of a user and a source that Admit has charged.
func (l *Ledger) Held(user string, client netip.Addr) Held {
	return Held{l.users[user], l.sources[source(client)], &l.server}
}

// Refill gives every account what the time since the last call brings, and forgets those that nobody has an allocation
// in, once they are as good as new: ending an allocation and making another does not refill anything.
func (l *Ledger) Refill(now time.Time) {
	elapsed := max(0, now.Sub(l.refilled))
	if l.refilled.IsZero() {
		elapsed = 0
	}
	l.refilled = now
	idle := 0
	for name, a := range l.users {
		full := a.refill(l.limits.UserRate, l.limits.UserPeers, elapsed)
		if a.allocations == 0 {
			if idle++; full || idle > l.limits.Allocations {
				delete(l.users, name)
			}
		}
	}
	for prefix, a := range l.sources {
		full := a.refill(l.limits.SourceRate, l.limits.SourcePeers, elapsed)
		if a.allocations == 0 {
			if idle++; full || idle > l.limits.Allocations {
				delete(l.sources, prefix)
			}
		}
	}
	l.server.refill(l.limits.Rate, 0, elapsed)
}

// newAccount returns one that may spend its bursts.
func newAccount(rate int64, peers int) *Account {
	a := new(Account)
	for i := range a.Moved {
		a.Moved[i].left.Store(unmetered)
	}
	a.peers.left.Store(unmetered)
	a.refill(rate, peers, 0) // down to the bursts
	return a
}

// refill gives an account what elapsed brings, and says whether it is as good as new.
func (a *Account) refill(rate int64, peers int, elapsed time.Duration) bool {
	full := true
	for i := range a.Moved {
		a.Moved[i].refill(rate, Burst(rate), elapsed)
		full = full && a.Moved[i].Left() >= Burst(rate)
	}
	perMinute := int64(peers) * onePeer
	a.peers.refill(perMinute/60, perMinute, elapsed)
	return full && a.peers.Left() >= perMinute
}

// Burst is what may come at once at a rate: what a second brings, and not less than the largest datagram.
func Burst(rate int64) int64 { return max(rate, 1<<16) }
