package turn

import (
	"traverse.internal/core/stun"
	"traverse.internal/turn/alloc"
)

// openDual opens a relayed address of each family, or of the one that there is: RFC 8656 §7.2. What the other failed with is
// told by ADDRESS-ERROR-CODE; when both fail, the answer is the first one's.
func (r *request) openDual(rel *relay, n *alloc.New, w wish) alloc.Verdict {
	second := &relay{shard: rel.shard, charged: rel.charged, made: rel.made}
	second.client.Store(rel.client.Load())
	w.family = ip4
	first := r.openFamily(rel, n, w)
	other := *n
	w.family = ip6
	verdict := r.openFamily(second, &other, w)
	switch {
	case first != alloc.OK && verdict != alloc.OK:
		return first
	case first != alloc.OK:
		rel.udp, rel.shared, rel.tcp, rel.family = second.udp, second.shared, second.tcp, second.family
		n.Relayed, n.Shared = other.Relayed, other.Shared
		rel.missing.family, rel.missing.code = stun.FamilyIPv4, addressError(first)
	case verdict != alloc.OK:
		rel.missing.family, rel.missing.code = stun.FamilyIPv6, addressError(verdict)
	default:
		rel.second, n.Second, n.Shared[1] = second, other.Relayed, other.Shared[0]
	}
	return alloc.OK
}

// openFamily is openRelay for a family that the server may not have. TCP allocations are never dual: RFC 6062 knows one
// relayed address.
func (r *request) openFamily(rel *relay, n *alloc.New, w wish) alloc.Verdict {
	if !r.shard.server.relayIP(w.family).IsValid() || w.protocol == alloc.RelayTCP && n.Relayed.IsValid() {
		return alloc.Verdict(stun.CodeFamilyNotSupported)
	}
	return r.openRelay(rel, n, w)
}

// addressError is what ADDRESS-ERROR-CODE may say: 440 or 508, RFC 8656 §7.2.
func addressError(v alloc.Verdict) stun.ErrorCode {
	if code := stun.ErrorCode(v); code == stun.CodeFamilyNotSupported {
		return code
	}
	return stun.CodeInsufficientCapacity
}
