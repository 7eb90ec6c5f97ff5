package turn

import (
	"net/netip"
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/core/udp"
	"traverse.internal/turn/alloc"
)

// uplink takes what clients send for their peers. It belongs to one goroutine. Datagrams in a row for the same relayed
// socket go out in one system call, at the latest when flush is called; their bytes must stay until then.
type uplink struct {
	shard *shard
	relay *relay         // whose datagrams were added last; nil: none
	conn  *udp.Conn      // that out is for
	out   *udp.SendBatch // borrowed until flush
	own   int            // of relay's datagrams, in out
	bytes uint64         // and their bytes
	whole bool           // out must not be cut: DONT-FRAGMENT

	connects bool // it may connect sockets to peers
}

// channelData relays a ChannelData message of a stream: RFC 8656 §12.6. A datagram for a peer is then not ECN-capable, and
// of the default class: §15.
func (u *uplink) channelData(now time.Time, tuple alloc.FiveTuple, frame []byte) {
	number, data, err := parseChannelData(frame)
	if err != nil {
		u.shard.stats.drop(DropGarbage)
		return
	}
	u.shard.mu.Lock()
	plan := planUplink(now, u.shard.table.Lookup(tuple), tuple, number)
	u.shard.mu.Unlock()
	if plan.relay == nil {
		u.shard.stats.drop(plan.drop)
		return
	}
	u.add(plan.relay, data, plan.peer, 0, false)
}

// indication relays a Send indication, with the traffic class that it came with: RFC 8656 §11.2. Indications are neither
// authenticated nor answered; Binding indications are keep-alives.
func (u *uplink) indication(now time.Time, tuple alloc.FiveTuple, msg stun.Message, tos uint8) {
	switch msg.Type().Method {
	case stun.MethodSend:
	case stun.MethodBinding:
		return
	default:
		u.shard.stats.drop(DropUnknown)
		return
	}
	var unknown [stun.MaxUnknown]stun.AttrType
	whole := msg.Has(stun.AttrDontFragment)
	if len(msg.AppendUnknown(unknown[:0], understood)) > 0 || whole && !u.shard.server.keepsWhole() {
		u.shard.stats.drop(DropUnknown)
		return
	}
	peer, err := msg.XORAddr(stun.AttrXORPeerAddress)
	data, ok := msg.Attr(stun.AttrData)
	if err != nil || !ok {
		u.shard.stats.drop(DropGarbage)
		return
	}
	u.shard.mu.Lock()
	r, drop, ok := u.byPermission(now, tuple, peer)
	u.shard.mu.Unlock()
	if !ok {
		u.shard.stats.drop(drop)
		return
	}
	// A permission is for all ports, but some are never relayed to.
	if reason := u.shard.server.policy.endpoint(peer, r.ownRelayed); reason != Allowed {
		u.shard.stats.denied[reason].Add(1)
		u.shard.stats.drop(DropDenied)
		return
	}
	if r.shared != nil && !u.claim(now, r, peer) {
		u.shard.stats.drop(DropTaken)
		return
	}
	u.add(r, data, peer, tos, whole)
}

// claim makes a peer the allocation's, where others have the relayed address, too.
func (u *uplink) claim(now time.Time, r *relay, peer netip.AddrPort) bool {
	u.shard.mu.Lock()
	defer u.shard.mu.Unlock()
	return u.shard.table.Claim(now, r.alloc, peer)
}

// byPermission expects the shard's lock.
func (u *uplink) byPermission(now time.Time, tuple alloc.FiveTuple, peer netip.AddrPort) (*relay, DropReason, bool) {
	a := u.shard.table.Lookup(tuple)
	if a == nil {
		return nil, DropNoAllocation, false
	}
	r := relayOf(a)
	if r.udp == nil {
		return nil, DropWrongKind, false
	}
	if !a.Permitted(now, peer.Addr()) {
		return nil, DropNoPermission, false
	}
	r.arrive(tuple)
	return r.toward(peer.Addr()), 0, true
}

// add queues a datagram for a peer, which must not be cut when it is whole.
func (u *uplink) add(r *relay, data []byte, peer netip.AddrPort, tos uint8, whole bool) {
	if !r.afford(up, len(data)) {
		u.shard.stats.drop(DropRate)
		return
	}
	conn := u.way(r, peer)
	if u.relay != r || u.conn != conn || u.out.Full() || u.whole != whole {
		if u.relay == nil || u.conn != conn || u.out.Full() || u.whole != whole {
			u.send()
		}
		u.count()
		u.relay, u.conn, u.whole = r, conn, whole
		if u.out == nil {
			u.out = u.shard.sends.Get().(*udp.SendBatch)
		}
	}
	u.out.Add(data, udp.Route{To: peer, TOS: tos})
	u.own++
	u.bytes += uint64(len(data))
}

// count counts what relay has in out.
func (u *uplink) count() {
	if u.relay != nil {
		u.relay.relayed(up, uint64(u.own), u.bytes)
	}
	u.relay, u.own, u.bytes = nil, 0, 0
}

// send sends what is queued.
func (u *uplink) send() {
	if u.relay == nil {
		return
	}
	u.count()
	u.conn.KeepWhole(u.whole) // a system call only where this differs from what was sent before
	u.shard.stats.dropped(u.conn.Send(u.out))
	u.conn = nil
}

// flush sends what is queued, and is idle then: it keeps neither memory nor a closed relay alive.
func (u *uplink) flush() {
	u.send()
	if u.out != nil {
		u.shard.sends.Put(u.out)
		u.out = nil
	}
}
