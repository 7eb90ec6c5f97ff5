package turn

import (
	"traverse.internal/core/zerocopy"
	"traverse.internal/turn/alloc"
)

// afford says whether n bytes of payload may pass in a direction, and charges them to user, source and server. Without a
// configured rate it is one load. It is meant for every packet, or once for a batch, and takes no lock: buckets are
// refilled by expireLoop.
func (r *relay) afford(direction, n int) bool {
	return !r.shard.server.metered.Load() || r.held.Afford(direction, n)
}

// pace is one direction of a TCP allocation's data connections, for zerocopy.
type pace struct {
	relay     *relay
	direction int
}

// Take returns how many of want bytes may be moved now, and charges them.
func (p pace) Take(want int) int {
	if !p.relay.shard.server.metered.Load() {
		return want
	}
	return p.relay.held.Take(p.direction, want)
}

// Return takes back what was granted and not moved.
func (p pace) Return(n int) {
	if n > 0 && p.relay.shard.server.metered.Load() {
		p.relay.held.Return(p.direction, n)
	}
}

// charge takes n bytes that have moved already: the next have to wait for them.
func (p pace) charge(n int) {
	if p.relay.shard.server.metered.Load() {
		p.relay.held.Moved(p.direction, n)
	}
}

var _ zerocopy.Pacer = pace{}

// UserRate returns what a user's relays may move each second in each direction, and at once, in bytes of payload; 0: no
// limit. It is for what relays past this program, in the kernel, and is asked again when PolicyEpoch has changed.
func (s *Server) UserRate() (rate, burst int64) {
	rate = s.rate.Load()
	return rate, alloc.Burst(rate)
}

// PolicyEpoch changes with every reload of peer policy and limits.
func (s *Server) PolicyEpoch() uint64 { return s.epoch.Load() }

// setLimits puts limits in force, for the tables of all shards.
func (s *Server) setLimits(l alloc.Limits) {
	s.metered.Store(l.Metered())
	s.rate.Store(l.UserRate)
	defer s.epoch.Add(1)
	s.ledgerMu.Lock()
	s.ledger.SetLimits(l)
	s.ledgerMu.Unlock()
	for _, sh := range s.shards {
		sh.mu.Lock()
		sh.table.SetLimits(l)
		sh.mu.Unlock()
	}
}

// refusals returns how often each quota refused something.
func (s *Server) refusals() map[string]uint64 {
	var total alloc.Refusals
	s.ledgerMu.Lock()
	total = s.ledger.Refused
	s.ledgerMu.Unlock()
	for _, sh := range s.shards {
		sh.mu.Lock()
		for i, n := range sh.table.Refused {
			total[i] += n
		}
		sh.mu.Unlock()
	}
	out := make(map[string]uint64, len(total))
	for i, n := range total {
		out[alloc.Quota(i).String()] = n
	}
	return out
}
