package turn

import (
	"net"

	"traverse.internal/core/stun"
	"traverse.internal/turn/alloc"
)

// acceptPeers takes peers' connections to a relayed address until its listener is closed: RFC 6062 §5.3.
func (r *relay) acceptPeers(l *net.TCPListener) {
	for {
		conn, err := accept(r.shard.server.ctx, l)
		if err != nil {
			return
		}
		r.takePeer(conn)
	}
}

// takePeer tells the client about a peer that it permits. What the peer sends meanwhile stays in the kernel: nothing is
// read before the ConnectionBind.
func (r *relay) takePeer(conn *net.TCPConn) {
	sh, peer := r.shard, source(conn)
	now := sh.server.now()
	var c *alloc.Conn
	sh.mu.Lock()
	permitted := !r.alloc.Gone() && r.alloc.Permitted(now, peer.Addr())
	verdict := alloc.OK
	if permitted {
		if c, verdict = sh.table.Accepted(now, r.alloc, peer, 0); verdict == alloc.OK {
			c.Handle = &peerConn{peer: conn}
		}
	}
	sh.mu.Unlock()
	if !permitted {
		sh.stats.drop(DropNoPermission)
	}
	if !permitted || verdict != alloc.OK {
		refuse(conn)
		return
	}

	id := sh.server.publish(c)
	sh.mu.Lock()
	gone := c.State == alloc.Closed
	if !gone {
		c.ID = id
	}
	sh.mu.Unlock()
	if gone {
		sh.server.withdraw(id)
		return
	}
	var room [stun.HeaderLen + 4 + 20 + 4 + 4]byte // XOR-PEER-ADDRESS and CONNECTION-ID
	b := stun.New(room[:0], stun.MethodConnectionAttempt.Indication(), stun.NewTransactionID())
	b.AddXORAddr(stun.AttrXORPeerAddress, peer)
	b.AddUint32(stun.AttrConnectionID, id)
	if !r.client.Load().stream.sendControl(b.Bytes()) {
		sh.dropConn(c)
	}
}
