package turn

import (
	"traverse.internal/core/stun"
	"traverse.internal/turn/alloc"
)

// channelBind binds a channel number to a peer, and permits its address: RFC 8656 §12.2. TCP allocations have no channels:
// 403, as clients know it from coturn.
func (r *request) channelBind() []byte {
	number, errNumber := r.msg.ChannelNumber()
	peer, errPeer := r.msg.XORAddr(stun.AttrXORPeerAddress)
	return r.withAllocation(func(a *alloc.Allocation) stun.ErrorCode {
		rel := relayOf(a)
		switch {
		case rel.udp == nil:
			return stun.CodeForbidden
		case errNumber != nil || errPeer != nil || !stun.ValidChannel(number):
			return stun.CodeBadRequest
		case !a.SameFamily(peer.Addr()):
			return stun.CodePeerFamilyMismatch
		}
		if reason := r.shard.server.policy.endpoint(peer, rel.ownRelayed); reason != Allowed {
			r.shard.stats.denied[reason].Add(1)
			return stun.CodeForbidden
		}
		return stun.ErrorCode(r.shard.table.BindChannel(r.now, a, number, peer))
	}, nil)
}
