package turn

import (
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/core/zerocopy"
	"traverse.internal/turn/alloc"
)

// connectionBind makes the connection that it came on the client's end of a peer connection: RFC 6062 §5.4. A refusal is
// an answer, not a reset, and leaves the peer connection waiting for its owner.
func (r *request) connectionBind() []byte {
	id, err := r.msg.Uint32(stun.AttrConnectionID)
	if err != nil || r.stream == nil || r.stream.hasAllocation() {
		return r.fail(stun.CodeBadRequest)
	}
	s := r.shard.server
	s.ledgerMu.Lock()
	c := s.ledger.Find(id)
	s.ledgerMu.Unlock()
	if c == nil {
		return r.fail(stun.CodeBadRequest)
	}
	owner := relayOf(c.Alloc).shard
	owner.mu.Lock()
	verdict := owner.table.BindConn(c, r.user.name, r.tuple.Server)
	if verdict == alloc.OK {
		c.Handle.(*peerConn).client = r.stream.tcp
	}
	owner.mu.Unlock()
	if verdict != alloc.OK {
		if verdict == alloc.WrongCredentials {
			r.shard.stats.fail(authOther)
		}
		return r.refuse(verdict)
	}
	r.bound = c
	b := r.begin(r.method.Success())
	return r.finish(&b)
}

// How a data connection is relayed, as sessions show it.
const (
	modeSplice = "splice" // in the kernel, where it has splice
	modeKernel = "ktls"   // so, and the kernel seals and opens the client's records
	modeCopy   = "copy"   // through this program, which seals and opens them
)

// join relays between client and peer until both have ended. What the client sent behind its ConnectionBind goes first.
// From here on nothing is parsed.
func (st *stream) join(c *alloc.Conn) {
	st.introduce()
	rel := relayOf(c.Alloc)
	p := c.Handle.(*peerConn) // bound: only closes
	defer rel.shard.dropConn(c)
	flows := &rel.flows
	_ = st.conn.SetDeadline(time.Time{})
	mode := modeSplice
	o := zerocopy.Options{
		Idle: st.server.config.DataIdle, AToB: &flows[up], BToA: &flows[down],
		PaceAToB: pace{rel, up}, PaceBToA: pace{rel, down},
	}
	if st.secure != nil {
		mode = modeCopy
		kernel, err := st.toKernel(st.buf, &st.have)
		if err != nil {
			return
		}
		if kernel != nil {
			mode, o.LayerA = modeKernel, kernel
		}
	}
	rel.shard.mu.Lock()
	p.mode = mode
	rel.shard.mu.Unlock()
	if st.have > 0 {
		if _, err := p.peer.Write(st.buf.Bytes()[:st.have]); err != nil {
			return
		}
		rel.flows[up].Add(st.have)
		pace{rel, up}.charge(st.have)
	}
	st.drop()
	rel.shard.stats.conns.Add(1)
	defer rel.shard.stats.conns.Add(-1)
	if mode == modeCopy {
		if e := st.records.exact; e != nil {
			e.wide.Store(true)
		}
		_ = joinSecured(st.secure, st.records, p.peer, st.server.config.DataIdle, rel)
		return
	}
	// Its error says which side reset the other; both have been told.
	_ = zerocopy.Join(st.tcp, p.peer, o)
}

func (st *stream) hasAllocation() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.allocated
}
