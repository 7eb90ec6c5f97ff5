package turn

import (
	"net/netip"

	"traverse.internal/core/stun"
	"traverse.internal/turn/alloc"
)

// createPermission permits peers' addresses, all or none: RFC 8656 §10.2. Ports do not matter.
func (r *request) createPermission() []byte {
	var room [8]netip.AddrPort
	named, err := r.msg.AppendXORAddrs(room[:0], stun.AttrXORPeerAddress)
	if err != nil || len(named) == 0 {
		return r.withAllocation(func(*alloc.Allocation) stun.ErrorCode { return stun.CodeBadRequest }, nil)
	}
	peers := make([]netip.Addr, len(named))
	denied := Allowed
	for i, peer := range named {
		peers[i] = peer.Addr()
		if reason := r.shard.server.policy.address(peer.Addr()); reason != Allowed {
			denied = reason
		}
	}
	var rel *relay
	return r.withAllocation(func(a *alloc.Allocation) stun.ErrorCode {
		for _, peer := range peers {
			if !a.SameFamily(peer) {
				return stun.CodePeerFamilyMismatch
			}
		}
		if denied != Allowed {
			r.shard.stats.denied[denied].Add(1)
			return stun.CodeForbidden
		}
		rel = relayOf(a)
		if !r.claims(a, named) {
			r.why = taken
			return stun.CodeInsufficientCapacity
		}
		verdict := r.shard.table.Permit(r.now, a, peers)
		if verdict == alloc.OK {
			r.claim(a, named)
		}
		return stun.ErrorCode(verdict)
	}, func() []byte {
		if rel.tcp != nil && !rel.tcp.listen(rel) {
			return r.fail(stun.CodeInsufficientCapacity)
		}
		return nil
	})
}

// withAllocation decides about the request's allocation under the shard's lock, and answers: 437 when there is none, the
// code that decide returns, or success. after, if any, then runs without the lock, and may answer otherwise.
func (r *request) withAllocation(decide func(*alloc.Allocation) stun.ErrorCode, after func() []byte) []byte {
	code := stun.CodeAllocationMismatch
	r.shard.mu.Lock()
	if a := r.shard.table.Lookup(r.tuple); a != nil {
		code = decide(a)
	}
	r.shard.mu.Unlock()
	if code != 0 {
		return r.fail(code)
	}
	if after != nil {
		if answer := after(); answer != nil {
			return answer
		}
	}
	b := r.begin(r.method.Success())
	return r.finish(&b)
}
