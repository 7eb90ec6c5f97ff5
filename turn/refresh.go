package turn

import (
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/turn/alloc"
)

// refresh starts an allocation's lifetime anew, or ends it; of a dual allocation both, or the one of a family: RFC 8656
// §8.2.
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
	if value, ok := r.msg.Attr(stun.AttrMobilityTicket); ok {
		return r.resume(value, seconds, ends)
	}

	r.shard.mu.Lock()
	a := r.shard.table.Lookup(r.tuple)
	verdict := alloc.OK
	var lifetime time.Duration
	var half *relay // that ends while the other family's goes on
	is4 := family == stun.FamilyIPv4
	switch {
	case a == nil:
		verdict = alloc.Mismatch
	case hasFamily && (!is4 && family != stun.FamilyIPv6 || !a.Serves(is4)):
		verdict = alloc.FamilyMismatch
	case ends && hasFamily && r.shard.table.EndHalf(a, is4):
		half = relayOf(a).half(is4)
	case ends:
	case hasFamily:
		lifetime = r.shard.table.RefreshHalf(r.now, a, is4, seconds)
	default:
		lifetime = r.shard.table.Refresh(r.now, a, seconds)
	}
	r.shard.mu.Unlock()
	switch {
	case verdict != alloc.OK:
		return r.refuse(verdict)
	case half != nil:
		half.free()
	case ends:
		r.shard.end(r.tuple)
	}
	b := r.begin(r.method.Success())
	b.AddUint32(stun.AttrLifetime, uint32(lifetime/time.Second))
	return r.finish(&b)
}
