package turn

import (
	"net/netip"

	"traverse.internal/core/udp"
)

const (
	// directAfter is how many datagrams in a row go to one peer before its relayed address gets a socket that is connected to
	// it: making one costs what about as many datagrams spare.
	directAfter = 32
	// directInstead is the same where there is one, connected to another peer.
	directInstead = 1024
	// directLook is how many sockets are looked at for one that nobody uses, when there are as many as may be.
	directLook = 8
)

// direct is a second socket at a relayed address, connected to the peer that most goes to. Its own socket is for everybody
// else: to none of them is this one any different.
type direct struct {
	relay *relay
	conn  *udp.Conn
	peer  netip.AddrPort
	used  bool // since it was last looked at; the work goroutine's
}

// streak is how many datagrams in a row went to a peer, but for those that went by a direct.
type streak struct {
	peer netip.AddrPort
	n    int
}

// way returns by which socket a datagram goes to a peer. Only the work goroutine has others than a relayed address's own.
func (u *uplink) way(r *relay, peer netip.AddrPort) *udp.Conn {
	if !u.connects || r.shared != nil {
		return r.udp
	}
	d := r.direct.Load()
	if d != nil && d.peer == peer {
		d.used = true
		r.streak.n = 0
		return d.conn
	}
	if r.streak.peer != peer {
		r.streak = streak{peer: peer}
	}
	r.streak.n++
	enough := directAfter
	if d != nil {
		enough = directInstead
	}
	if r.streak.n != enough {
		return r.udp
	}
	u.send() // what is queued may be for one that is closed to make room
	if d = u.shard.connect(r, peer); d == nil {
		return r.udp
	}
	return d.conn
}

// connect gives a relayed address a direct; nil where there cannot be one. The work goroutine calls it.
func (sh *shard) connect(r *relay, peer netip.AddrPort) *direct {
	r.disconnect()
	if !sh.roomForDirect() {
		return nil
	}
	conn, err := r.udp.Toward(peer, relayOptions)
	if err != nil {
		return nil // of descriptors there are no more, or the peer cannot be reached: then sending says so
	}
	d := &direct{relay: r, conn: conn, peer: peer, used: true}
	sh.mu.Lock()
	gone := r.alloc.Gone() || !r.alloc.Serves(r.family == ip4)
	if !gone {
		sh.directs[d] = struct{}{}
		r.direct.Store(d) // under the lock: who frees the address comes after it
	}
	sh.mu.Unlock()
	if gone {
		_ = conn.Close()
		return nil
	}
	if sh.poller.Add(conn, d) != nil {
		r.disconnect()
		return nil
	}
	return d
}

// roomForDirect says whether there may be one more, and closes one that nobody uses where there may not.
func (sh *shard) roomForDirect() bool {
	sh.mu.Lock()
	if len(sh.directs) < sh.mostDirects {
		sh.mu.Unlock()
		return true
	}
	var idle *direct
	looked := 0
	for d := range sh.directs { // in no order
		if !d.used {
			idle = d
			break
		}
		d.used = false
		if looked++; looked == directLook {
			break
		}
	}
	sh.mu.Unlock()
	if idle == nil {
		return false
	}
	idle.relay.disconnect()
	return true
}

// disconnect closes the direct, if there is one.
func (r *relay) disconnect() {
	d := r.direct.Swap(nil)
	if d == nil {
		return
	}
	r.shard.mu.Lock()
	delete(r.shard.directs, d)
	r.shard.mu.Unlock()
	_ = d.conn.Close()
}
