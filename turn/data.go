package turn

import (
	"net/netip"
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/core/udp"
)

// downlink is how datagrams of one peer go to the client.
type downlink struct {
	relay  *relay // nil: it is dropped
	number uint16 // its channel; 0: in a Data indication
	drop   DropReason
}

// planned is how many datagrams of peers the table is asked about at once.
const planned = udp.BatchLen

// toClient relays what a relayed socket received, from the i-th datagram of the batch on: RFC 8656 §11.3 and §12.7. The socket
// is one allocation's, or shared.
func (w *worker) toClient(now time.Time, one *relay, shared *sharedRelay, i int) {
	var plan [planned]downlink
	for end := w.down.Len(); i < end; {
		n := min(planned, end-i)
		w.plan(now, one, shared, i, plan[:n])
		var r *relay
		var client *client
		var packets, bytes uint64
		for k := range n {
			if plan[k].relay == nil {
				w.shard.stats.drop(plan[k].drop)
				continue
			}
			if plan[k].relay != r {
				if r != nil {
					r.relayed(down, packets, bytes)
				}
				r, packets, bytes = plan[k].relay, 0, 0
				client = r.client.Load()
			}
			size := len(w.down.Packet(i + k))
			if !r.afford(down, size) {
				w.shard.stats.drop(DropRate)
				continue
			}
			if w.forward(client, i+k, plan[k].number) {
				packets++
				bytes += uint64(size)
			}
		}
		if r != nil {
			r.relayed(down, packets, bytes)
		}
		i += n
	}
}

// plan asks the table about datagrams of the batch, the i-th and those behind it.
func (w *worker) plan(now time.Time, one *relay, shared *sharedRelay, i int, plan []downlink) {
	sh := w.shard
	var peer netip.AddrPort
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for k := range plan {
		d := &plan[k]
		from := w.down.From(i + k)
		if k > 0 && from == peer {
			*d = plan[k-1]
			continue
		}
		peer = from
		d.relay, d.drop = one, DropNoPermission
		if shared != nil {
			d.relay, d.drop = shared.owner(now, from)
		}
		if d.relay == nil || d.relay.alloc.Gone() {
			d.relay = nil
			continue
		}
		permitted := false
		if d.number, permitted = d.relay.alloc.Downlink(now, from); !permitted {
			d.relay = nil
		}
	}
}

// forward puts header and padding around a datagram and leaves it with the listener, or the stream; false: it is dropped.
func (w *worker) forward(c *client, i int, number uint16) bool {
	switch {
	case c.stream != nil:
		return w.toStream(c, i, number)
	case c.secured != nil:
		return w.toSecured(c, i, number)
	}
	l := c.listener
	if l.out.Full() {
		l.deliver()
	}
	route := udp.Route{To: c.addr, From: c.from, TOS: w.down.TOS(i)}
	packet := w.down.Packet(i)
	if number != 0 {
		if frame := w.down.Frame(i, stun.ChannelDataHeaderLen, 0); frame != nil {
			stun.AppendChannelDataHeader(frame[:0], number, len(packet))
			l.out.Add(frame, route)
			return true
		}
		head := l.out.Head(stun.ChannelDataHeaderLen)
		stun.AppendChannelDataHeader(head[:0], number, len(packet))
		l.out.AddParts(route, head, packet, 0)
		return true
	}
	from, padding := w.down.From(i), dataPadding(packet)
	if frame := w.down.Frame(i, dataHeadLen(from), padding); frame != nil {
		if !w.dataHead(frame[:0], from, len(packet)) {
			return false
		}
		clear(frame[len(frame)-padding:])
		l.out.Add(frame, route)
		return true
	}
	head := l.out.Head(dataHeadLen(from))
	if !w.dataHead(head[:0], from, len(packet)) {
		return false
	}
	l.out.AddParts(route, head, packet, padding)
	return true
}

// toStream sends a datagram to a client that speaks TCP.
func (w *worker) toStream(c *client, i int, number uint16) bool {
	frame := w.whole(i, number, stun.ChannelDataPadding(len(w.down.Packet(i)))) // RFC 8656 §12.5
	if frame == nil {
		return false
	}
	if !c.stream.sendData(frame) {
		w.shard.stats.drop(DropSlowClient)
		return false
	}
	return true
}

// whole returns a message with a datagram in one piece, good until the next call; nil: it is dropped. The padding is that of
// ChannelData; an indication has its own.
func (w *worker) whole(i int, number uint16, padding int) []byte {
	packet := w.down.Packet(i)
	head, from := stun.ChannelDataHeaderLen, w.down.From(i)
	if number == 0 {
		head, padding = dataHeadLen(from), dataPadding(packet)
	}
	frame := w.down.Frame(i, head, padding)
	if frame == nil { // others lie beside it
		frame = append(w.frame[:head], packet...)
		frame = frame[:len(frame)+padding]
	}
	if number != 0 {
		stun.AppendChannelDataHeader(frame[:0], number, len(packet))
	} else if !w.dataHead(frame[:0], from, len(packet)) {
		return nil
	}
	clear(frame[len(frame)-padding:])
	return frame
}

func dataPadding(packet []byte) int { return (4 - len(packet)%4) % 4 }

// dataHeadLen is how long a Data indication is in front of the datagram.
func dataHeadLen(peer netip.AddrPort) int {
	const head = stun.HeaderLen + 4 + 8 + 4 // XOR-PEER-ADDRESS of 8 bytes, or 20
	if peer.Addr().Is6() {
		return head + 12
	}
	return head
}

// dataHead begins a Data indication. It says false when the datagram and the attributes are more than a message has.
func (w *worker) dataHead(b []byte, peer netip.AddrPort, size int) bool {
	m := stun.New(b, stun.MethodData.Indication(), w.newID())
	m.AddXORAddr(stun.AttrXORPeerAddress, peer)
	m.AddHeader(stun.AttrData, size)
	if m.Err() != nil {
		w.shard.stats.drop(DropTooBig)
		return false
	}
	return true
}

// newID returns the transaction id of an indication.
func (w *worker) newID() (id stun.TransactionID) {
	_, _ = w.ids.Read(id[:]) // never fails
	return id
}
