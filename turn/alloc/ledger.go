package alloc

import (
	"net/netip"
	"time"
)

// Token stands for a reserved port: RFC 8656 §18.8.
type Token [8]byte

// Reservation is an even port's partner that waits for the request with its token.
type Reservation struct {
	User    string
	Client  netip.Addr // who is charged for it
	Addr    netip.AddrPort
	Expires time.Time
	Handle  any
}

// Ledger has what all shards share. It is not safe for concurrent use.
type Ledger struct {
	limits   Limits
	total    int
	users    map[string]*Account
	sources  map[netip.Prefix]*Account
	server   Account
	refilled time.Time
	reserved map[Token]Reservation
	conns    map[uint32]*Conn

	Refused Refusals
}

// NewLedger returns an empty ledger. Zero limits mean their defaults.
func NewLedger(limits Limits) *Ledger {
	limits = limits.WithDefaults()
	return &Ledger{
		limits:   limits,
		users:    make(map[string]*Account),
		sources:  make(map[netip.Prefix]*Account),
		server:   *newAccount(limits.Rate, 0),
		reserved: make(map[Token]Reservation),
		conns:    make(map[uint32]*Conn),
	}
}

// Admit charges n allocations to the user and to the client's source, or says 486 or 508 and charges none.
func (l *Ledger) Admit(user string, client netip.Addr, n int) Verdict {
	byUser, bySource := l.users[user], l.sources[source(client)]
	if byUser == nil {
		byUser = newAccount(l.limits.UserRate, l.limits.UserPeers)
	}
	if bySource == nil {
		bySource = newAccount(l.limits.SourceRate, l.limits.SourcePeers)
	}
	switch {
	case byUser.allocations+n > l.limits.PerUser:
		l.Refused[QuotaUser]++
		return QuotaReached
	case bySource.allocations+n > l.limits.PerSource:
		l.Refused[QuotaSource]++
		return QuotaReached
	case l.total+n > l.limits.Allocations:
		l.Refused[QuotaServer]++
		return InsufficientCapacity
	}
	l.total += n
	byUser.allocations += n
	bySource.allocations += n
	l.users[user], l.sources[source(client)] = byUser, bySource
	return OK
}

// Leave takes one charge back. The account stays until Refill finds it as good as new.
func (l *Ledger) Leave(user string, client netip.Addr) {
	l.total--
	l.users[user].allocations--
	l.sources[source(client)].allocations--
}

// Reserved returns how many ports wait for their token.
func (l *Ledger) Reserved() int { return len(l.reserved) }

// Total returns how many allocations and reservations are charged.
func (l *Ledger) Total() int { return l.total }

// Reserve keeps a reservation, which Admit has charged already, until its token is redeemed or 30 s are over.
func (l *Ledger) Reserve(now time.Time, token Token, r Reservation) {
	r.Expires = now.Add(ReservationLifetime)
	l.reserved[token] = r
}

// Redeem gives out the reservation of a token, once, to the user who made it. Its charge goes with it, and stays with
// the client address that made the reservation, wherever the token came back from.
func (l *Ledger) Redeem(now time.Time, token Token, user string) (Reservation, bool) {
	r, ok := l.reserved[token]
	if !ok || r.User != user || !now.Before(r.Expires) {
		return Reservation{}, false
	}
	delete(l.reserved, token)
	return r, true
}

// Expire takes out the reservations that nobody redeemed and their charges. The caller closes their sockets.
func (l *Ledger) Expire(now time.Time) []Reservation {
	var ended []Reservation
	for token, r := range l.reserved {
		if !now.Before(r.Expires) {
			delete(l.reserved, token)
			l.Leave(r.User, r.Client)
			ended = append(ended, r)
		}
	}
	return ended
}

// Drain takes out every reservation, for the end of the server.
func (l *Ledger) Drain() []Reservation {
	ended := make([]Reservation, 0, len(l.reserved))
	for token, r := range l.reserved {
		delete(l.reserved, token)
		l.Leave(r.User, r.Client)
		ended = append(ended, r)
	}
	return ended
}

// Publish makes a connection findable by its id. It says false when the id is 0 or in use: draw another.
func (l *Ledger) Publish(id uint32, c *Conn) bool {
	if id == 0 || l.conns[id] != nil {
		return false
	}
	l.conns[id] = c
	return true
}

// Find returns the connection of an id, or nil.
func (l *Ledger) Find(id uint32) *Conn { return l.conns[id] }

// Withdraw forgets an id.
func (l *Ledger) Withdraw(id uint32) { delete(l.conns, id) }

// source is the prefix that one customer commonly has to itself: an IPv4 address, an IPv6 /56.
func source(client netip.Addr) netip.Prefix {
	length := 32
	if client.Is6() {
		length = 56
	}
	prefix, _ := client.WithZone("").Prefix(length) // cannot fail: the length fits the family
	return prefix
}
