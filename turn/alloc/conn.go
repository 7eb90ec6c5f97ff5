package alloc

import (
	"net/netip"
	"time"
)

// ConnState is where a peer connection of a TCP allocation is in its life.
type ConnState uint8

// The states: RFC 6062 §5.2 to §5.5.
const (
	Dialling ConnState = iota // a Connect request is being worked on
	Waiting                   // the connection stands, its ConnectionBind has not come
	Bound                     // joined with a client data connection
	Closed                    // removed
)

// Conn is a peer connection of a TCP allocation. One peer address has at most one.
type Conn struct {
	ID     uint32 // 0 while dialling
	Peer   netip.AddrPort
	Alloc  *Allocation
	State  ConnState
	Handle any

	Dialled bool // by a Connect; else the peer made it

	timer timer
}

// Dial begins a Connect: RFC 6062 §5.2. It counts as a new peer, so that nobody scans ports with it.
func (t *Table) Dial(a *Allocation, peer netip.AddrPort) (*Conn, Verdict) {
	if a.conns[peer] == nil && !t.meet(a, 1) {
		return nil, InsufficientCapacity
	}
	return t.addConn(a, &Conn{Peer: peer, Alloc: a, State: Dialling, Dialled: true})
}

// Connected ends a Connect that succeeded: the connection now waits for its ConnectionBind.
func (t *Table) Connected(now time.Time, c *Conn, id uint32) {
	c.ID = id
	t.await(now, c)
}

// Accepted registers a connection that the peer made: RFC 6062 §5.3. The caller has checked the permission.
func (t *Table) Accepted(now time.Time, a *Allocation, peer netip.AddrPort, id uint32) (*Conn, Verdict) {
	c, verdict := t.addConn(a, &Conn{ID: id, Peer: peer, Alloc: a})
	if verdict == OK {
		t.await(now, c)
	}
	return c, verdict
}

// BindConn decides a ConnectionBind by the given user at the given server address: RFC 6062 §5.4. Any refusal leaves
// the connection waiting, so that a stranger's guess costs its owner nothing.
func (t *Table) BindConn(c *Conn, user string, server netip.AddrPort) Verdict {
	if c.State != Waiting || c.Alloc.Tuple.Server != server {
		return BadRequest
	}
	if c.Alloc.User != user {
		return WrongCredentials
	}
	c.State = Bound
	t.wheel.disarm(&c.timer)
	return OK
}

// RemoveConn forgets a connection; the caller closes its sockets. Removing twice is harmless.
func (t *Table) RemoveConn(c *Conn) {
	if c.State == Closed {
		return
	}
	c.State = Closed
	t.wheel.disarm(&c.timer)
	delete(c.Alloc.conns, c.Peer)
}

func (t *Table) addConn(a *Allocation, c *Conn) (*Conn, Verdict) {
	if a.conns[c.Peer] != nil {
		return nil, ConnectionExists
	}
	if len(a.conns) >= t.limits.Conns {
		t.Refused[QuotaConns]++
		return nil, InsufficientCapacity
	}
	if a.conns == nil {
		a.conns = make(map[netip.AddrPort]*Conn)
	}
	a.conns[c.Peer] = c
	return c, OK
}

func (t *Table) await(now time.Time, c *Conn) {
	c.State = Waiting
	c.timer.conn = c
	t.wheel.arm(&c.timer, now.Add(BindTimeout))
}
