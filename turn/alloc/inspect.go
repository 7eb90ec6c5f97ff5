package alloc

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// SetLimits puts other limits in the place of the present ones; the highest channel number stays. What is above a lower
// limit already stays until it ends.
func (t *Table) SetLimits(l Limits) {
	l = l.WithDefaults()
	l.MaxChannel = t.limits.MaxChannel
	t.limits = l
}

// SetLimits puts other limits in the place of the present ones. What is above a lower limit already stays until it ends.
func (l *Ledger) SetLimits(limits Limits) { l.limits = limits.WithDefaults() }

// Revoke takes back the permissions of addresses that denied names, with the peer connections of those addresses, and the
// channels and peer connections to endpoints that it names. It returns how many permissions and channels those were, and
// the connections, for the caller to close.
func (t *Table) Revoke(a *Allocation, address func(netip.Addr) bool, endpoint func(netip.AddrPort) bool) (n int, conns []*Conn) {
	for ip, p := range a.permissions {
		if address(ip) {
			p.expires = time.Time{} // for the channels that point to it
			a.forget(ip)
			n++
		}
	}
	for _, c := range a.byNumber {
		if address(c.peer.Addr()) || endpoint(c.peer) {
			a.unbind(c)
			n++
		}
	}
	for peer, c := range a.conns {
		// What a peer dialled came from any port of its own; a port is judged where we dialled.
		if address(peer.Addr()) || c.Dialled && endpoint(peer) {
			conns = append(conns, c)
		}
	}
	for _, c := range conns {
		t.RemoveConn(c)
	}
	return n, conns
}

// Permission is one that is in force, for people.
type Permission struct {
	Peer    netip.Addr
	Expires time.Time
}

// Channel is one that is bound, for people.
type Channel struct {
	Number  uint16
	Peer    netip.AddrPort
	Expires time.Time
}

// Permissions returns those in force, in no order.
func (a *Allocation) Permissions(now time.Time) []Permission {
	var out []Permission
	for ip, p := range a.permissions {
		if now.Before(p.expires) {
			out = append(out, Permission{ip, p.expires})
		}
	}
	return out
}

// Channels returns those in force, in no order.
func (a *Allocation) Channels(now time.Time) []Channel {
	var out []Channel
	for _, c := range a.byNumber {
		if live(now, c) != nil {
			out = append(out, Channel{c.number, c.peer, c.expires})
		}
	}
	return out
}

// Conns returns its connections, in no order.
func (a *Allocation) Conns() []*Conn { return slices.Collect(maps.Values(a.conns)) }

// ChannelUntil returns until when data may go between a channel's client and the peer, as far as can be said now; the zero
// time when they may not, or the channel is another peer's.
func (a *Allocation) ChannelUntil(now time.Time, number uint16, peer netip.AddrPort) time.Time {
	c := live(now, a.byNumber[number])
	i := a.half(peer.Addr().Is4())
	if c == nil || c.peer != peer || !now.Before(c.permission.expires) || i < 0 || !a.halves[i].live {
		return time.Time{}
	}
	until := c.expires
	for _, other := range []time.Time{c.permission.expires, a.halves[i].expires} {
		if other.Before(until) {
			until = other
		}
	}
	return until
}
