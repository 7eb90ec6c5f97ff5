package turn

import (
	"encoding/binary"
	"net/netip"

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
		case errNumber != nil || errPeer != nil || number < alloc.MinChannel || number > r.shard.server.config.Limits.MaxChannel:
			return stun.CodeBadRequest
		case !a.SameFamily(peer.Addr()):
			return stun.CodePeerFamilyMismatch
		}
		if reason := r.shard.server.policy.endpoint(peer, rel.ownRelayed); reason != Allowed {
			r.shard.stats.denied[reason].Add(1)
			return stun.CodeForbidden
		}
		if !r.claims(a, []netip.AddrPort{peer}) {
			r.why = taken
			return stun.CodeInsufficientCapacity
		}
		verdict := r.shard.table.BindChannel(r.now, a, number, peer)
		if verdict == alloc.OK {
			rel.toward(peer.Addr()).offer(number, peer)
		}
		return stun.ErrorCode(verdict)
	}, func() []byte {
		if r.stream != nil && number > stun.MaxChannel {
			r.stream.wide = true
		}
		return nil
	})
}

// isChannel says whether a message is ChannelData by its first byte, of either generation.
func isChannel(first byte) bool { return stun.KindOf(first) == stun.KindChannelData || isWide(first) }

// isWide says whether a message begins with a channel number of RFC 5766 that RFC 8656 gave up.
func isWide(first byte) bool { return first >= 0x50 && first <= 0x7f }

// parseChannelData reads ChannelData of both generations.
func parseChannelData(b []byte) (number uint16, data []byte, err error) {
	if len(b) < stun.ChannelDataHeaderLen || !isWide(b[0]) {
		return stun.ParseChannelData(b)
	}
	end := stun.ChannelDataHeaderLen + int(binary.BigEndian.Uint16(b[2:]))
	if end > len(b) {
		return 0, nil, stun.ErrChannelData
	}
	return binary.BigEndian.Uint16(b), b[stun.ChannelDataHeaderLen:end], nil
}

// frameLen looks at the beginning of a stream, as stun.StreamFrameLen does. Before the first whole message there is no
// ChannelData: "GET" looks like it. And what begins like a channel of RFC 5766 is garbage until there is one.
func (st *stream) frameLen(b []byte) (n, need int, err error) {
	if !st.wide || !isWide(b[0]) {
		if !st.spoken.Load() && stun.KindOf(b[0]) != stun.KindSTUN {
			return 0, 0, errFrame
		}
		return stun.StreamFrameLen(b)
	}
	if len(b) < stun.ChannelDataHeaderLen {
		return 0, stun.ChannelDataHeaderLen - len(b), nil
	}
	n = int(binary.BigEndian.Uint16(b[2:]))
	n += stun.ChannelDataHeaderLen + stun.ChannelDataPadding(n)
	return n, max(0, n-len(b)), nil
}
