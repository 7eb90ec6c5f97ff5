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
	relay *relay         // whose datagrams out has; nil: none
	out   *udp.SendBatch // borrowed while there are any
}

// channelData relays a ChannelData message: RFC 8656 §12.6.
func (u *uplink) channelData(now time.Time, tuple alloc.FiveTuple, frame []byte) {
	number, data, err := parseChannelData(frame)
	if err != nil {
		u.shard.stats.drop(DropGarbage)
		return
	}
	u.shard.mu.Lock()
	r, peer, drop, ok := u.byChannel(now, tuple, number)
	u.shard.mu.Unlock()
	if !ok {
		u.shard.stats.drop(drop)
		return
	}
	u.add(r, data, peer)
}

// byChannel expects the shard's lock.
func (u *uplink) byChannel(now time.Time, tuple alloc.FiveTuple, number uint16) (r *relay, peer netip.AddrPort, drop DropReason, ok bool) {
	a := u.shard.table.Lookup(tuple)
	if a == nil {
		return nil, peer, DropNoAllocation, false
	}
	r = relayOf(a)
	if r.udp == nil {
		return nil, peer, DropWrongKind, false
	}
	peer, bound, permitted := a.Uplink(now, number)
	switch {
	case !bound:
		return nil, peer, DropUnbound, false
	case !permitted:
		return nil, peer, DropNoPermission, false
	}
	r.arrive(tuple)
	return r.toward(peer.Addr()), peer, 0, true
}

// indication relays a Send indication: RFC 8656 §11.2. Indications are neither authenticated nor answered; Binding
// indications are keep-alives.
func (u *uplink) indication(now time.Time, tuple alloc.FiveTuple, msg stun.Message) {
	switch msg.Type().Method {
	case stun.MethodSend:
	case stun.MethodBinding:
		return
	default:
		u.shard.stats.drop(DropUnknown)
		return
	}
	var unknown [stun.MaxUnknown]stun.AttrType
	// DONT-FRAGMENT is among what we do not understand.
	if len(msg.AppendUnknown(unknown[:0], understood)) > 0 || msg.Has(stun.AttrDontFragment) {
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
	u.add(r, data, peer)
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

// add queues a datagram for a peer.
func (u *uplink) add(r *relay, data []byte, peer netip.AddrPort) {
	if !r.afford(up, len(data)) {
		u.shard.stats.drop(DropRate)
		return
	}
	if u.relay != r || u.out.Full() {
		u.flush()
		u.relay = r
		u.out = u.shard.server.sends.Get().(*udp.SendBatch)
	}
	u.out.Add(data, peer, netip.Addr{})
	r.relayed(up, len(data))
}

// flush sends what is queued.
func (u *uplink) flush() {
	if u.relay == nil {
		return
	}
	if dropped := u.relay.udp.Send(u.out); dropped > 0 {
		u.shard.stats.drops[DropSend].Add(uint64(dropped))
	}
	u.shard.server.sends.Put(u.out)
	u.relay, u.out = nil, nil // idle, it keeps neither memory nor a closed relay alive
}
