package turn

import (
	"traverse.internal/core/stun"
	"traverse.internal/core/udp"
)

// downlink is how one datagram of a peer goes to the client.
type downlink struct {
	number    uint16 // its channel; 0: in a Data indication
	permitted bool
	id        stun.TransactionID // of the indication
}

// readPeers takes what peers send to a relayed UDP socket, until the socket is closed: RFC 8656 §11.3 and §12.7. It is one
// goroutine an allocation; while nothing comes it holds no buffers.
func (r *relay) readPeers() {
	s := r.shard.server
	var plan [udp.BatchLen]downlink
	for {
		in, err := r.udp.Recv(s.pool)
		if err != nil {
			return
		}
		r.plan(in, &plan)
		if r.client.Load().stream != nil {
			r.toStream(in, &plan)
		} else {
			r.toAddr(in, &plan)
		}
		s.pool.Put(in)
	}
}

// plan asks the table about a whole batch at once.
func (r *relay) plan(in *udp.RecvBatch, plan *[udp.BatchLen]downlink) {
	now := r.shard.server.now()
	r.shard.mu.Lock()
	defer r.shard.mu.Unlock()
	for i := range in.Len() {
		d := &plan[i]
		d.number, d.permitted = 0, false
		if r.alloc.Gone() {
			continue
		}
		d.number, d.permitted = r.alloc.Downlink(now, in.From(i))
		if d.permitted && d.number == 0 {
			_, _ = r.shard.ids.Read(d.id[:]) // never fails
		}
	}
}

// toAddr sends a batch to a client that speaks UDP, in one system call.
func (r *relay) toAddr(in *udp.RecvBatch, plan *[udp.BatchLen]downlink) {
	out, client := r.shard.server.sends.Get().(*udp.SendBatch), r.client.Load()
	for i := range in.Len() {
		if frame := r.frame(in, i, &plan[i], 0); frame != nil {
			out.Add(frame, client.addr, client.from)
		}
	}
	if dropped := client.conn.Send(out); dropped > 0 {
		r.shard.stats.drops[DropSend].Add(uint64(dropped))
	}
	r.shard.server.sends.Put(out)
}

// toStream sends a batch to a client that speaks TCP.
func (r *relay) toStream(in *udp.RecvBatch, plan *[udp.BatchLen]downlink) {
	for i := range in.Len() {
		padding := 0
		if plan[i].number != 0 {
			padding = stun.ChannelDataPadding(len(in.Packet(i))) // RFC 8656 §12.5
		}
		if frame := r.frame(in, i, &plan[i], padding); frame != nil && !r.client.Load().stream.sendData(frame) {
			r.shard.stats.drop(DropSlowClient)
		}
	}
}

// frame puts header and padding around a datagram, in place, and counts it; nil when it is dropped.
func (r *relay) frame(in *udp.RecvBatch, i int, d *downlink, padding int) []byte {
	if !d.permitted {
		r.shard.stats.drop(DropNoPermission)
		return nil
	}
	size := len(in.Packet(i))
	if !r.afford(down, size) {
		r.shard.stats.drop(DropRate)
		return nil
	}
	if d.number != 0 {
		frame := in.Frame(i, stun.ChannelDataHeaderLen, padding)
		stun.AppendChannelDataHeader(frame[:0], d.number, size)
		clear(frame[len(frame)-padding:])
		r.relayed(down, size)
		return frame
	}
	peer := in.From(i)
	head := stun.HeaderLen + 4 + 8 + 4 // XOR-PEER-ADDRESS of 8 bytes, or 20
	if peer.Addr().Is6() {
		head += 12
	}
	padding = (4 - size%4) % 4
	frame := in.Frame(i, head, padding)
	b := stun.New(frame[:0], stun.MethodData.Indication(), d.id)
	b.AddXORAddr(stun.AttrXORPeerAddress, peer)
	b.AddHeader(stun.AttrData, size)
	if b.Err() != nil { // the largest datagram and its attributes are more than a message has
		r.shard.stats.drop(DropSend)
		return nil
	}
	clear(frame[len(frame)-padding:])
	r.relayed(down, size)
	return frame
}
