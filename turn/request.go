package turn

import (
	"net/netip"
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/turn/alloc"
)

// request is one request on its way to an answer. It belongs to one goroutine, and what needs longer works with a copy (later).
type request struct {
	shard    *shard
	now      time.Time
	tuple    alloc.FiveTuple
	stream   *stream     // where it came from, one of two
	listener *listener   //
	arrived  netip.Addr  // of ours, where the listener has several
	secured  *dtlsClient // over DTLS
	origin   *listener   // where the answer is to come from; nil: listener

	msg         stun.Message
	method      stun.Method
	id          stun.TransactionID
	fingerprint bool // it had one, so the answer gets one

	user      user
	authentic bool
	key       []byte // that it was signed with, and the answer is
	sha256    bool   // with MESSAGE-INTEGRITY-SHA256, both

	why   string      // phrase of an error, where the code's says too little
	buf   []byte      // the answer is appended to it
	bound *alloc.Conn // what a ConnectionBind bound
}

// take makes r a request that has come; what it was before is gone. So one serves for all that a worker or a stream reads, and
// a stranger's costs no memory.
func (r *request) take(sh *shard, now time.Time, tuple alloc.FiveTuple, msg stun.Message, buf []byte) {
	sh.stats.requests.Add(1)
	*r = request{
		shard: sh, now: now, tuple: tuple,
		msg: msg, method: msg.Type().Method, id: msg.TransactionID(), fingerprint: msg.Has(stun.AttrFingerprint),
		buf: buf,
	}
}

// serve returns the answer, or nil when there is none, or when it comes later.
func (r *request) serve() []byte {
	var handle func(*request) []byte
	switch r.method {
	case stun.MethodBinding:
		return r.binding()
	case stun.MethodAllocate:
		handle = (*request).allocate
	case stun.MethodRefresh:
		handle = (*request).refresh
	case stun.MethodCreatePermission:
		handle = (*request).createPermission
	case stun.MethodChannelBind:
		handle = (*request).channelBind
	case stun.MethodConnect:
		handle = (*request).connect
	case stun.MethodConnectionBind:
		handle = (*request).connectionBind
	default:
		return r.toStranger(func() []byte { return r.fail(stun.CodeBadRequest) })
	}
	if answer, ok := r.authenticate(); !ok {
		return answer
	}
	// RFC 8489 §6.3.1: only now, so that a stranger learns nothing and the answer is signed.
	if answer, ok := r.understand(); !ok {
		return answer
	}
	return handle(r)
}

// understood says which of the attributes that must be understood are.
func understood(t stun.AttrType) bool {
	switch t {
	case stun.AttrUsername, stun.AttrRealm, stun.AttrNonce, stun.AttrMessageIntegrity, stun.AttrMessageIntegritySHA256,
		stun.AttrUserhash, stun.AttrPasswordAlgorithm,
		stun.AttrRequestedTransport, stun.AttrRequestedAddressFamily, stun.AttrEvenPort, stun.AttrReservationToken,
		stun.AttrDontFragment, // judged by who handles it
		stun.AttrLifetime, stun.AttrXORPeerAddress, stun.AttrChannelNumber, stun.AttrData, stun.AttrConnectionID:
		return true
	}
	return false
}

// understand answers 420 when there is something to be understood that is not.
func (r *request) understand() ([]byte, bool) {
	var room [stun.MaxUnknown]stun.AttrType
	if unknown := r.msg.AppendUnknown(room[:0], understood); len(unknown) > 0 {
		return r.unknown(unknown), false
	}
	return nil, true
}

func (r *request) unknown(types []stun.AttrType) []byte {
	b := r.begin(r.method.Error())
	b.AddError(stun.CodeUnknownAttribute, r.phrase(stun.CodeUnknownAttribute))
	b.AddUnknownAttributes(types)
	return r.finish(&b)
}

// binding answers with the client's address and nothing else: RFC 8489 §2. Where NAT behaviour can be discovered it also tells
// where the answer comes from, and the other address: RFC 5780 §6.1.
func (r *request) binding() []byte {
	return r.toStranger(func() []byte {
		var room [stun.MaxUnknown]stun.AttrType
		if unknown := r.msg.AppendUnknown(room[:0], r.understoodHere); len(unknown) > 0 {
			return r.unknown(unknown)
		}
		if !r.changeOrigin() {
			return r.fail(stun.CodeBadRequest)
		}
		b := r.begin(r.method.Success())
		b.AddXORAddr(stun.AttrXORMappedAddress, r.tuple.Client)
		r.addOrigin(&b)
		return r.finish(&b)
	})
}

// toStranger answers an unauthenticated request, unless its source, which over UDP may be anybody, had enough answers.
func (r *request) toStranger(answer func() []byte) []byte {
	if r.stream == nil && r.secured == nil && !r.shard.allowStranger(r.now, r.tuple.Client.Addr()) {
		r.shard.stats.drop(DropStranger)
		return nil
	}
	return answer()
}

// begin begins the answer.
func (r *request) begin(t stun.Type) stun.Builder { return stun.New(r.buf, t, r.id) }

// finish signs the answer to an authenticated request, and closes it. Every one, ConnectionBind's and errors included:
// clients in the field drop the others in silence.
func (r *request) finish(b *stun.Builder) []byte {
	switch {
	case r.authentic && r.sha256:
		b.AddIntegritySHA256(r.key)
	case r.authentic:
		b.AddIntegrity(r.key)
	}
	if r.fingerprint {
		b.AddFingerprint()
	}
	return b.Bytes()
}

// fail answers with an error.
func (r *request) fail(code stun.ErrorCode) []byte {
	switch code {
	case stun.CodeAllocationQuotaReached:
		r.shard.stats.quota[0].Add(1)
	case stun.CodeInsufficientCapacity:
		r.shard.stats.quota[1].Add(1)
	case stun.CodeTryAlternate:
		r.shard.stats.quota[2].Add(1)
	}
	b := r.begin(r.method.Error())
	b.AddError(code, r.phrase(code))
	if code == stun.CodeTryAlternate {
		b.AddAddr(stun.AttrAlternateServer, r.shard.server.alternate(r.tuple.Client.Addr()))
	}
	return r.finish(&b)
}

// refuse answers with what the table decided.
func (r *request) refuse(v alloc.Verdict) []byte { return r.fail(stun.ErrorCode(v)) }

// phrase is empty in what a stranger gets over UDP: the answer shall not be much longer than the question.
func (r *request) phrase(code stun.ErrorCode) string {
	if !r.authentic && r.stream == nil {
		return ""
	}
	if r.why != "" {
		return r.why
	}
	return code.Phrase()
}

// later returns a copy that outlives the datagram or frame: for an answer that needs time.
func (r *request) later() *request {
	c := *r
	c.msg, c.buf = stun.Message{}, nil
	return &c
}
