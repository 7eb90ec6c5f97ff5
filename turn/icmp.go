package turn

import (
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/core/udp"
)

// maxErrors is how many ICMP errors of one relayed socket are told before others have their turn.
const maxErrors = 16

// errors tells the client what came back by ICMP for what it sent: RFC 8656 §11.5 and §11.6.
func (w *worker) errors(now time.Time, conn *udp.Conn, one *relay, shared *sharedRelay) {
	for range maxErrors {
		e, ok := conn.NextError(w.down)
		if !ok {
			return
		}
		if !told(e) {
			continue
		}
		sh := w.shard
		sh.mu.Lock()
		r := one
		if shared != nil {
			r, _ = shared.owner(now, e.Peer)
		}
		permitted := r != nil && !r.alloc.Gone() && r.alloc.Permitted(now, e.Peer.Addr())
		sh.mu.Unlock()
		if !permitted {
			sh.stats.drop(DropNoPermission)
			continue
		}
		w.tellError(r, e)
	}
}

// told says whether clients are told of such an error: destination unreachable and time exceeded, and of ICMPv6 also packet
// too big.
func told(e udp.ICMPError) bool {
	if e.Peer.Addr().Is4() {
		return e.Type == 3 || e.Type == 11
	}
	return e.Type >= 1 && e.Type <= 3
}

func (w *worker) tellError(r *relay, e udp.ICMPError) {
	var room [udp.Headroom]byte
	m := stun.New(room[:0], stun.MethodData.Indication(), w.newID())
	m.AddXORAddr(stun.AttrXORPeerAddress, e.Peer)
	m.AddICMP(e.Type, e.Code, e.MTU)
	w.shard.stats.icmp.Add(1)
	c := r.client.Load()
	if c.stream != nil {
		if !c.stream.sendData(m.Bytes()) {
			w.shard.stats.drop(DropSlowClient)
		}
		return
	}
	if c.secured != nil {
		w.seal(c, m.Bytes(), 0)
		return
	}
	l := c.listener
	if l.out.Full() {
		l.deliver()
	}
	head := l.out.Head(len(m.Bytes()))
	copy(head, m.Bytes())
	l.out.AddParts(udp.Route{To: c.addr, From: c.from}, head, nil, 0)
}
