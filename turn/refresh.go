package turn

import (
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/turn/alloc"
)

// refresh starts an allocation's lifetime anew, or ends it: RFC 8656 §8.2.
func (r *request) refresh() []byte {
	seconds, err := r.msg.Uint32(stun.AttrLifetime)
	ends := err == nil && seconds == 0
	if err == stun.ErrMalformed {
		return r.fail(stun.CodeBadRequest)
	}
	family, err := r.msg.Family(stun.AttrRequestedAddressFamily)
	if err == stun.ErrMalformed {
		return r.fail(stun.CodeBadRequest)
	}
	hasFamily := err == nil

	r.shard.mu.Lock()
	a := r.shard.table.Lookup(r.tuple)
	verdict := alloc.OK
	var lifetime time.Duration
	switch {
	case a == nil:
		verdict = alloc.Mismatch
	case hasFamily && family != stun.FamilyOf(a.Relayed.Addr()):
		verdict = alloc.FamilyMismatch
	case !ends:
		lifetime = r.shard.table.Refresh(r.now, a, seconds)
	}
	r.shard.mu.Unlock()
	if verdict != alloc.OK {
		return r.refuse(verdict)
	}
	if ends {
		r.shard.end(r.tuple)
	}
	b := r.begin(r.method.Success())
	b.AddUint32(stun.AttrLifetime, uint32(lifetime/time.Second))
	return r.finish(&b)
}
