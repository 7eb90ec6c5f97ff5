package alloc

import (
	"net/netip"
	"time"
)

// Table has the allocations of one shard. It is not safe for concurrent use.
type Table struct {
	limits Limits
	tuples map[tupleKey]*Allocation
	wheel  *wheel

	Refused Refusals
}

// NewTable returns an empty table. Zero limits mean their defaults.
func NewTable(limits Limits, now time.Time) *Table {
	return &Table{
		limits: limits.WithDefaults(),
		tuples: make(map[tupleKey]*Allocation),
		wheel:  newWheel(now),
	}
}

// Len returns the number of 5-tuples: that of allocations, and one more for each that moves.
func (t *Table) Len() int { return len(t.tuples) }

// Lookup returns the allocation of a 5-tuple, or nil.
func (t *Table) Lookup(tuple FiveTuple) *Allocation { return t.tuples[tuple.key()] }

// New is what an allocation starts with.
type New struct {
	Tuple       FiveTuple
	User        string
	Transaction [12]byte
	Protocol    Protocol
	Relayed     netip.AddrPort
	Second      netip.AddrPort // of the other family; zero: none
	Lifetime    uint32         // the request's wish in seconds; 0 when it had none
	Token       Token
	Held        Held      // from Ledger.Held
	Shared      [2]*Peers // of Relayed and Second, which others have, too; nil: nobody has
	Handle      any
}

// Insert adds an allocation, or says Mismatch when its 5-tuple has one: RFC 8656 §7.2. Quotas are the ledger's, and
// come first.
func (t *Table) Insert(now time.Time, n New) (*Allocation, Verdict) {
	if t.tuples[n.Tuple.key()] != nil {
		return nil, Mismatch
	}
	a := &Allocation{
		Tuple:       n.Tuple,
		User:        n.User,
		Transaction: n.Transaction,
		Protocol:    n.Protocol,
		Relayed:     n.Relayed,
		Second:      n.Second,
		Token:       n.Token,
		Held:        n.Held,
		shared:      n.Shared,
		Handle:      n.Handle,
	}
	end := now.Add(t.limits.Lifetime(n.Lifetime))
	for i := range a.halves {
		if i == 0 || a.Second.IsValid() {
			a.halves[i].live, a.halves[i].timer.alloc, a.halves[i].timer.half = true, a, i
			t.renew(end, a, i)
		}
	}
	t.tuples[a.Tuple.key()] = a
	return a, OK
}

// Refresh starts the lifetime anew, of both relayed addresses where there are two, and returns it: RFC 8656 §8.2. A Refresh
// with lifetime 0 is a Remove.
func (t *Table) Refresh(now time.Time, a *Allocation, seconds uint32) time.Duration {
	a.sweepChannels(now)
	a.sweepPermissions(now, nil)
	lifetime := t.limits.Lifetime(seconds)
	for i := range a.halves {
		if a.halves[i].live {
			t.renew(now.Add(lifetime), a, i)
		}
	}
	return lifetime
}

// Remove forgets an allocation and returns its peer connections, for the caller to close with the allocation's own
// sockets. Removing twice is harmless.
func (t *Table) Remove(a *Allocation) []*Conn {
	if a.gone {
		return nil
	}
	a.gone = true
	for i := range a.halves {
		t.wheel.disarm(&a.halves[i].timer)
	}
	t.Stay(a)
	delete(t.tuples, a.Tuple.key())
	conns := make([]*Conn, 0, len(a.conns))
	for _, c := range a.conns {
		conns = append(conns, c)
	}
	for _, c := range conns {
		t.RemoveConn(c)
	}
	for ip, p := range a.permissions {
		if s := a.peersOf(ip); s != nil {
			s.leave(ip, p, a)
		}
	}
	a.Held.count(-len(a.permissions), -len(a.byNumber))
	a.permissions, a.byNumber, a.byPeer, a.last = nil, nil, nil, nil
	return conns
}

// All calls yield for every allocation, in no order. The table must not be changed meanwhile.
func (t *Table) All(yield func(*Allocation) bool) {
	for tuple, a := range t.tuples {
		if tuple == a.Tuple.key() && !yield(a) { // the other one is where it moves to
			return
		}
	}
}

// Ended is what Expire took out, for the caller to close.
type Ended struct {
	Allocations []*Allocation
	Halves      []Half  // of allocations whose other relayed address goes on
	Conns       []*Conn // of those allocations, and those whose ConnectionBind never came
}

// Expire takes out what has ended by now, at most a second late. It costs nothing within the same second.
func (t *Table) Expire(now time.Time) Ended {
	var ended Ended
	t.wheel.advance(now, func(due *timer) {
		if due.conn != nil {
			t.RemoveConn(due.conn)
			ended.Conns = append(ended.Conns, due.conn)
			return
		}
		if at := due.alloc.relayed(due.half); t.EndHalf(due.alloc, at.Addr().Is4()) {
			ended.Halves = append(ended.Halves, Half{due.alloc, at})
			return
		}
		ended.Conns = append(ended.Conns, t.Remove(due.alloc)...)
		ended.Allocations = append(ended.Allocations, due.alloc)
	})
	return ended
}
