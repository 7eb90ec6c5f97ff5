package turn

import (
	"traverse.internal/core/stun"
	"traverse.internal/turn/alloc"
)

// nobody's key is checked for unknown users, so that they take as long as wrong passwords.
var nobody = user{key: make([]byte, 16)}

// authenticate establishes whose request this is: RFC 8489 §9.2.4 (with the nonce before the integrity, as in RFC 5389
// §10.2.2). When it says false, the answer is the refusal, or nil for silence.
func (r *request) authenticate() ([]byte, bool) {
	hasSHA1, hasSHA256 := r.msg.Has(stun.AttrMessageIntegrity), r.msg.Has(stun.AttrMessageIntegritySHA256)
	if !hasSHA1 && !hasSHA256 {
		return r.challenge(authMissing, stun.CodeUnauthenticated)
	}
	name, errName := r.msg.Text(stun.AttrUsername)
	realm, errRealm := r.msg.Text(stun.AttrRealm)
	nonce, errNonce := r.msg.Text(stun.AttrNonce)
	if errName != nil || errRealm != nil || errNonce != nil || r.ambiguous() {
		r.shard.stats.fail(authMalformed)
		return r.toStranger(func() []byte { return r.fail(stun.CodeBadRequest) }), false
	}
	if !r.freshNonce(nonce) {
		return r.challenge(authNonce, stun.CodeStaleNonce)
	}
	if string(realm) != r.shard.server.config.Realm {
		return r.challenge(authRealm, stun.CodeUnauthenticated)
	}
	var room [maxSecrets]user
	found, expired := r.shard.server.users.find(room[:0], name, r.now, r.method == stun.MethodAllocate)
	known := len(found) > 0
	if !known {
		found = append(found, nobody)
	}
	var who user
	var err error
	for _, who = range found {
		if hasSHA256 { // the stronger one decides: RFC 8489 §9.2.4
			err = r.msg.CheckIntegritySHA256(who.key, 32) // not truncated
		} else {
			err = r.msg.CheckIntegrity(who.key)
		}
		if err == nil {
			break
		}
	}
	switch {
	case expired:
		return r.challenge(authExpired, stun.CodeUnauthenticated)
	case !known:
		return r.challenge(authUser, stun.CodeUnauthenticated)
	case err != nil:
		return r.challenge(authPassword, stun.CodeUnauthenticated)
	}
	r.user, r.authentic, r.sha256 = who, true, hasSHA256
	return r.ownAllocation()
}

// ownAllocation refuses requests about another user's allocation: RFC 8656 §5. An Allocate is told by 437 that there is
// one.
func (r *request) ownAllocation() ([]byte, bool) {
	if r.method == stun.MethodAllocate {
		return nil, true
	}
	r.shard.mu.Lock()
	a := r.shard.table.Lookup(r.tuple)
	r.shard.mu.Unlock()
	if a != nil && a.User != r.user.name {
		r.shard.stats.fail(authOther)
		return r.fail(stun.CodeWrongCredentials), false
	}
	return nil, true
}

// challenge tells a client how to authenticate: RFC 8489 §9.2.4.
func (r *request) challenge(why authFailure, code stun.ErrorCode) ([]byte, bool) {
	r.shard.stats.fail(why)
	return r.toStranger(func() []byte {
		var room [nonceLen]byte
		nonce := r.shard.server.nonces.append(room[:0], r.now, r.tuple)
		b := r.begin(r.method.Error())
		b.AddError(code, r.phrase(code))
		b.AddText(stun.AttrRealm, r.shard.server.config.Realm)
		b.Add(stun.AttrNonce, nonce)
		return r.finish(&b)
	}), false
}

// freshNonce accepts the nonces we made for this client. ConnectionBind may also carry the nonce of the control connection
// whose peer connection it asks for: real clients do not wait for a challenge of their own (RFC 6062 §4.3 only asks for
// the same credentials).
func (r *request) freshNonce(nonce []byte) bool {
	nonces := r.shard.server.nonces
	if nonces.valid(nonce, r.now, r.tuple) {
		return true
	}
	if r.method != stun.MethodConnectionBind || r.stream == nil {
		return false
	}
	id, err := r.msg.Uint32(stun.AttrConnectionID)
	if err != nil {
		return false
	}
	s := r.shard.server
	s.ledgerMu.Lock()
	c := s.ledger.Find(id)
	s.ledgerMu.Unlock()
	if c == nil {
		return false
	}
	control := c.Alloc.Tuple // set before the connection was published, and never changed
	return control.Client.Addr() == r.tuple.Client.Addr() && control.Transport != alloc.UDP && nonces.valid(nonce, r.now, control)
}

// ambiguous says that an attribute which decides who asks is there twice.
func (r *request) ambiguous() bool {
	var names, realms, nonces int
	for t := range r.msg.All() {
		switch t {
		case stun.AttrUsername:
			names++
		case stun.AttrRealm:
			realms++
		case stun.AttrNonce:
			nonces++
		}
	}
	return names > 1 || realms > 1 || nonces > 1
}
