package turn

import (
	"context"
	"net"
	"net/netip"

	"traverse.internal/core/stun"
	"traverse.internal/turn/alloc"
)

// connect opens a connection from the relayed address to a peer: RFC 6062 §5.2. The answer comes when that is decided; the
// control connection goes on meanwhile.
func (r *request) connect() []byte {
	peer, err := r.msg.XORAddr(stun.AttrXORPeerAddress)
	sh := r.shard
	ctx, cancel := context.WithTimeout(sh.server.ctx, sh.server.config.DialTimeout)
	var c *alloc.Conn
	var local netip.AddrPort
	sh.mu.Lock()
	code := func() stun.ErrorCode { // the shard's lock is held
		a := sh.table.Lookup(r.tuple)
		if a == nil {
			return stun.CodeAllocationMismatch
		}
		rel := relayOf(a)
		if err != nil || rel.tcp == nil {
			return stun.CodeBadRequest
		}
		if !a.SameFamily(peer.Addr()) {
			return stun.CodePeerFamilyMismatch
		}
		// A connection from the relayed address to itself would meet itself.
		reason := sh.server.policy.endpoint(peer, rel.ownRelayed)
		if peer == a.Relayed {
			reason = DeniedOwn
		}
		if reason != Allowed {
			sh.stats.denied[reason].Add(1)
			return stun.CodeForbidden
		}
		var verdict alloc.Verdict
		if c, verdict = sh.table.Dial(a, peer); verdict != alloc.OK {
			return stun.ErrorCode(verdict)
		}
		c.Handle = &peerConn{cancel: cancel}
		local = a.Relayed
		return 0
	}()
	sh.mu.Unlock()
	if code != 0 {
		cancel()
		return r.fail(code)
	}
	later := r.later()
	sh.server.tasks.Go(func() {
		defer cancel()
		later.dial(ctx, c, local)
	})
	return nil
}

// dial connects, and answers the Connect request. Refused and timed out look the same to the client.
func (r *request) dial(ctx context.Context, c *alloc.Conn, local netip.AddrPort) {
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(local), Control: dialControl}
	conn, err := asTCP(dialer.DialContext(ctx, "tcp", c.Peer.String()))
	if err != nil {
		r.shard.dropConn(c)
		r.stream.sendControl(r.fail(stun.CodeConnectionFailed))
		return
	}
	id := r.shard.server.publish(c)
	r.shard.mu.Lock()
	gone := c.State == alloc.Closed // with its allocation, while we dialled
	if !gone {
		c.Handle.(*peerConn).peer = conn
		r.shard.table.Connected(r.shard.server.now(), c, id)
	}
	r.shard.mu.Unlock()
	if gone {
		r.shard.server.withdraw(id)
		refuse(conn)
		return
	}
	b := r.begin(r.method.Success())
	b.AddUint32(stun.AttrConnectionID, id)
	r.stream.sendControl(r.finish(&b))
}
