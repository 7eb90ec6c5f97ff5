package turn

import (
	"net/netip"
	"time"

	"traverse.internal/core/udp"
	"traverse.internal/turn/alloc"
)

// channelRun is ChannelData of UDP clients in a row, on its way to peers. The table is asked about all of them at once, and
// then they are put together by relayed socket: order matters only within one.
type channelRun struct {
	n       int
	packets [udp.BatchLen]channelPacket
	first   [udp.BatchLen]int // of each relayed socket, in packets
	id      uint64            // of the run, for relay.run
}

// channelPacket is one datagram of a run.
type channelPacket struct {
	uplinkPlan
	data []byte
	tos  uint8
	next int // of the same relayed socket; 0: none
}

// uplinkPlan is what becomes of a datagram of a channel.
type uplinkPlan struct {
	relay *relay // nil: it is dropped
	peer  netip.AddrPort
	drop  DropReason
}

// chain is where a relay's datagrams are in the present run. It belongs to the shard's goroutine.
type chain struct {
	run  uint64
	last int
}

// channels relays a run of ChannelData messages, from the i-th datagram on, and returns where it ends: RFC 8656 §12.6.
func (w *worker) channels(now time.Time, l *listener, i int) int {
	run := &w.run
	run.n = 0
	run.id++
	sh := w.shard
	var client netip.AddrPort
	var arrived netip.Addr
	var plan uplinkPlan
	var bound uint16          // of plan; 0: there is none yet
	var tuple alloc.FiveTuple // of client
	var a *alloc.Allocation
	var garbage uint64
	sh.mu.Lock()
	for ; i < w.up.Len() && run.n < udp.BatchLen; i++ {
		packet := w.up.Packet(i)
		if len(packet) == 0 || !isChannel(packet[0]) {
			break
		}
		if bound == 0 || !w.up.Follows(i) {
			if from, to := w.up.From(i), w.up.To(i); bound == 0 || from != client || to != arrived {
				client, arrived, bound = from, to, 0
				tuple = l.tuple(client, arrived)
				a = sh.table.Lookup(tuple)
			}
		}
		number, data, err := parseChannelData(packet)
		if err != nil {
			garbage++
			continue
		}
		if number != bound {
			plan, bound = planUplink(now, a, tuple, number), number
		}
		p := &run.packets[run.n]
		p.uplinkPlan, p.data, p.tos, p.next = plan, data, w.up.TOS(i), 0
		run.n++
	}
	sh.mu.Unlock()
	if garbage > 0 {
		sh.stats.drops[DropGarbage].Add(garbage)
	}
	w.queue()
	return i
}

// queue hands the run to the uplink, by relayed socket.
func (w *worker) queue() {
	run, sockets := &w.run, 0
	for i := range run.n {
		p := &run.packets[i]
		r := p.relay
		if r == nil {
			w.shard.stats.drop(p.drop)
			continue
		}
		if r.chain.run == run.id {
			run.packets[r.chain.last].next = i
		} else {
			run.first[sockets] = i
			sockets++
		}
		r.chain = chain{run.id, i}
	}
	for _, i := range run.first[:sockets] {
		for {
			p := &run.packets[i]
			w.uplink.add(p.relay, p.data, p.peer, p.tos, false)
			p.relay, p.data = nil, nil
			if i = p.next; i == 0 {
				break
			}
		}
	}
}

// planUplink expects the shard's lock.
func planUplink(now time.Time, a *alloc.Allocation, tuple alloc.FiveTuple, number uint16) uplinkPlan {
	if a == nil {
		return uplinkPlan{drop: DropNoAllocation}
	}
	r := relayOf(a)
	if r.udp == nil {
		return uplinkPlan{drop: DropWrongKind}
	}
	peer, bound, permitted := a.Uplink(now, number)
	switch {
	case !bound:
		return uplinkPlan{drop: DropUnbound}
	case !permitted:
		return uplinkPlan{drop: DropNoPermission}
	}
	r.arrive(tuple)
	return uplinkPlan{relay: r.toward(peer.Addr()), peer: peer}
}
