package turn

import (
	"bytes"

	"traverse.internal/core/stun"
	"traverse.internal/turn/alloc"
)

// nobody's keys are checked for unknown users, so that they take as long as wrong passwords.
var nobody user

// algorithms is the value of PASSWORD-ALGORITHMS that we offer: RFC 8489 §14.11, the better one first.
var algorithms = []byte{0, byte(stun.PasswordSHA256), 0, 0, 0, byte(stun.PasswordMD5), 0, 0}

// minOffer is how long a datagram has to be for an answer that offers password algorithms. The shortest Allocate that
// asks for something has a header and REQUESTED-TRANSPORT; the answer is 88 bytes with a realm of 8, and with 28 of IPv4
// and UDP on either side that is 116 / 56 = 2.07 times as much.
const minOffer = stun.HeaderLen + 8

// authenticate establishes whose request this is: RFC 8489 §9.2.4 (with the nonce before the integrity, as in RFC 5389
// §10.2.2). When it says false, the answer is the refusal, or nil for silence.
func (r *request) authenticate() ([]byte, bool) {
	hasSHA1, hasSHA256 := r.msg.Has(stun.AttrMessageIntegrity), r.msg.Has(stun.AttrMessageIntegritySHA256)
	if !hasSHA1 && !hasSHA256 {
		return r.challenge(authMissing, stun.CodeUnauthenticated)
	}
	name, errName := r.username()
	realm, errRealm := r.msg.Text(stun.AttrRealm)
	nonce, errNonce := r.msg.Text(stun.AttrNonce)
	if errName != nil || errRealm != nil || errNonce != nil || r.ambiguous() {
		return r.malformed()
	}
	offered, fresh := r.freshNonce(nonce)
	if !fresh {
		return r.challenge(authNonce, stun.CodeStaleNonce)
	}
	algorithm, ok := r.algorithm(offered)
	if !ok || r.msg.Has(stun.AttrUserhash) && !offered {
		return r.malformed()
	}
	if string(realm) != r.shard.server.config.Realm {
		return r.challenge(authRealm, stun.CodeUnauthenticated)
	}
	var room [maxSecrets + 1]user
	found, expired := r.candidates(room[:0], name)
	known := len(found) > 0
	if !known {
		found = append(found, nobody)
	}
	var who user
	var err error
	for _, who = range found {
		r.key = who.keys.MD5[:]
		if algorithm == stun.PasswordSHA256 {
			r.key = who.keys.SHA256[:]
		}
		if hasSHA256 { // the stronger one decides: RFC 8489 §9.2.4
			err = r.msg.CheckIntegritySHA256(r.key, 32) // not truncated
		} else {
			err = r.msg.CheckIntegrity(r.key)
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

// malformed refuses what no client would send: 400, without a challenge.
func (r *request) malformed() ([]byte, bool) {
	r.shard.stats.fail(authMalformed)
	return r.toStranger(func() []byte { return r.fail(stun.CodeBadRequest) }), false
}

// username is who the request says it comes from, by name or by hash. Nobody's hash is nobody's name.
func (r *request) username() ([]byte, error) {
	name, err := r.msg.Text(stun.AttrUsername)
	hash, hashed := r.msg.Attr(stun.AttrUserhash)
	switch {
	case !hashed:
		return name, err
	case err != stun.ErrMissing || len(hash) != 32: // both, or neither right
		return nil, stun.ErrMalformed
	}
	return []byte(r.shard.server.users.unhash([32]byte(hash))), nil
}

// algorithm is the password algorithm that the request was signed by: RFC 8489 §9.2.4. A client that knows no choice has
// neither attribute and means MD5. One that does repeats our offer, so that we see when somebody on the path has changed
// it.
func (r *request) algorithm(offered bool) (stun.PasswordAlgorithm, bool) {
	list, hasList := r.msg.Attr(stun.AttrPasswordAlgorithms)
	choice, hasChoice := r.msg.Attr(stun.AttrPasswordAlgorithm)
	switch {
	case !hasList && !hasChoice:
		return stun.PasswordMD5, true
	case !offered || !hasChoice || !bytes.Equal(list, algorithms):
		return 0, false
	}
	a, _, _, err := stun.NextPasswordAlgorithm(choice)
	return a, err == nil && (a == stun.PasswordMD5 || a == stun.PasswordSHA256)
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

// challenge tells a client how to authenticate: RFC 8489 §9.2.4. Over UDP, where the sender may be somebody else, a short
// request gets a short answer: without password algorithms, and to an Allocate that asks for nothing 400. So nobody on
// the path can have the offer left out by cutting a client's Allocate short.
func (r *request) challenge(why authFailure, code stun.ErrorCode) ([]byte, bool) {
	r.shard.stats.fail(why)
	return r.toStranger(func() []byte {
		offer := r.stream != nil || len(r.msg.Raw) >= minOffer
		if !offer && r.method == stun.MethodAllocate {
			return r.fail(stun.CodeBadRequest)
		}
		var room [len(nonceCookie) + nonceLen]byte
		nonce := r.shard.server.nonces.append(room[:0], r.now, r.tuple, offer)
		b := r.begin(r.method.Error())
		b.AddError(code, r.phrase(code))
		b.AddText(stun.AttrRealm, r.shard.server.config.Realm)
		b.Add(stun.AttrNonce, nonce)
		if offer {
			b.Add(stun.AttrPasswordAlgorithms, algorithms)
		}
		return r.finish(&b)
	}), false
}

// freshNonce accepts the nonces we made for this client, and says whether we made an offer with it. ConnectionBind may also
// carry the nonce of the control connection whose peer connection it asks for: real clients do not wait for a challenge of
// their own (RFC 6062 §4.3 only asks for the same credentials).
func (r *request) freshNonce(nonce []byte) (offered, fresh bool) {
	nonces := r.shard.server.nonces
	if offered, fresh = nonces.valid(nonce, r.now, r.tuple); fresh {
		return offered, true
	}
	if r.method != stun.MethodConnectionBind || r.stream == nil {
		return false, false
	}
	id, err := r.msg.Uint32(stun.AttrConnectionID)
	if err != nil {
		return false, false
	}
	s := r.shard.server
	s.ledgerMu.Lock()
	c := s.ledger.Find(id)
	s.ledgerMu.Unlock()
	if c == nil {
		return false, false
	}
	control := c.Alloc.Tuple // set before the connection was published, and never changed
	if control.Client.Addr() != r.tuple.Client.Addr() || control.Transport == alloc.UDP {
		return false, false
	}
	return nonces.valid(nonce, r.now, control)
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
