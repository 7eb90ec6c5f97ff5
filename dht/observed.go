package dht

import (
	"net/netip"
	"slices"
	"sync"
)

const (
	maxVotes  = 16 // remembered, newest first
	needVotes = 3  // from so many different hosts, since one could lie
)

// observedAddrs learns the address others see this node at: each answer says it (BEP 42), and when three hosts agree it
// is believed. The zero value is ready.
type observedAddrs struct {
	mu    sync.Mutex // guards the field below
	votes []vote     // at most one per host
}

type vote struct {
	from netip.Addr
	seen netip.AddrPort
}

func (o *observedAddrs) vote(from netip.Addr, seen netip.AddrPort) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.votes = slices.DeleteFunc(o.votes, func(v vote) bool { return v.from == from })
	if len(o.votes) == maxVotes {
		o.votes = o.votes[:maxVotes-1]
	}
	o.votes = slices.Insert(o.votes, 0, vote{from, seen})
}

// believed returns the addresses that enough hosts agree on, one per family at most.
func (o *observedAddrs) believed() []netip.AddrPort {
	o.mu.Lock()
	defer o.mu.Unlock()
	count := map[netip.AddrPort]int{}
	var out []netip.AddrPort
	for _, v := range o.votes {
		count[v.seen]++
		if count[v.seen] == needVotes && !slices.ContainsFunc(out, func(a netip.AddrPort) bool { return a.Addr().Is4() == v.seen.Addr().Is4() }) {
			out = append(out, v.seen)
		}
	}
	return out
}
