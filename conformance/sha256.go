package conformance

import (
	"bytes"
	"encoding/base64"

	"traverse.internal/core/stun"
)

var sha256Checks = []check{
	{number: 21, ref: "RFC 8489 §9.2.4, §9.2.5", over: onBoth, run: passwordAlgorithms, must: "PASSWORD-ALGORITHMS are offered with the nonce cookie, and a request that does not repeat them is refused"},
	{number: 22, ref: "RFC 8489 §9.2.4, §14.6", over: onBoth, run: integritySHA256, must: "MESSAGE-INTEGRITY-SHA256 is answered with MESSAGE-INTEGRITY-SHA256"},
	{number: 23, ref: "RFC 8489 §9.2.4, §14.4", over: onBoth, run: userhash, must: "USERHASH is accepted when the nonce cookie says so, and only then"},
}

// Security features of the nonce cookie, RFC 8489 §18.1.
const (
	featureAlgorithms = 1 << 23 // bit 0
	featureAnonymity  = 1 << 22 // bit 1
)

// features reads the nonce cookie.
func (c *client) features() (bits uint32, ok bool) {
	const cookie = "obMatJos2"
	if len(c.cred.nonce) < len(cookie)+4 || !bytes.HasPrefix(c.cred.nonce, []byte(cookie)) {
		return 0, false
	}
	raw, err := base64.StdEncoding.DecodeString(string(c.cred.nonce[len(cookie) : len(cookie)+4]))
	if err != nil || len(raw) != 3 {
		return 0, false
	}
	return uint32(raw[0])<<16 | uint32(raw[1])<<8 | uint32(raw[2]), true
}

// offer is what a challenge offers: the value of PASSWORD-ALGORITHMS as it came, and whether SHA-256 is in it.
func (c *client) offer() (value []byte, sha256 bool) {
	r := c.challenge()
	value, offered := r.Attr(stun.AttrPasswordAlgorithms)
	bits, cookie := c.features()
	if !offered {
		if cookie && bits&featureAlgorithms != 0 {
			c.p.failf("the nonce cookie promises PASSWORD-ALGORITHMS: expected them, got %s", r.attributes())
		}
		c.p.skipf("the server does not offer PASSWORD-ALGORITHMS")
	}
	if !cookie || bits&featureAlgorithms == 0 {
		c.p.failf("with PASSWORD-ALGORITHMS: expected a nonce that begins with obMatJos2 and has bit 0 set, got %q", c.cred.nonce)
	}
	value = bytes.Clone(value)
	for rest := value; len(rest) > 0; {
		a, _, next, err := stun.NextPasswordAlgorithm(rest)
		if err != nil {
			c.p.failf("PASSWORD-ALGORITHMS: %v", err)
		}
		sha256 = sha256 || a == stun.PasswordSHA256
		rest = next
	}
	return value, sha256
}

// modern is a request of RFC 8489: what it has is in the fields.
type modern struct {
	algorithms []byte // PASSWORD-ALGORITHMS; nil: none
	algorithm  stun.PasswordAlgorithm
	userhash   bool
	sha1       bool // MESSAGE-INTEGRITY, also when integrity is 0
	integrity  int  // bytes of MESSAGE-INTEGRITY-SHA256; 0: none
}

func (c *client) modernKey(a stun.PasswordAlgorithm) []byte {
	if a == stun.PasswordSHA256 {
		return stun.KeySHA256(c.cred.user, c.cred.realm, c.cred.password)
	}
	return c.cred.key()
}

// sign returns an Allocate.
func (m modern) sign(c *client, attrs ...attr) []byte {
	b := stun.New(nil, stun.MethodAllocate.Request(), stun.NewTransactionID())
	for _, add := range append([]attr{udpRelay}, attrs...) {
		add(&b)
	}
	if m.userhash {
		hash := stun.Userhash(c.cred.user, c.cred.realm)
		b.Add(stun.AttrUserhash, hash[:])
	} else {
		b.AddText(stun.AttrUsername, c.cred.user)
	}
	b.AddText(stun.AttrRealm, c.cred.realm)
	b.Add(stun.AttrNonce, c.cred.nonce)
	if m.algorithms != nil {
		b.Add(stun.AttrPasswordAlgorithms, m.algorithms)
	}
	if m.algorithm != 0 {
		b.AddPasswordAlgorithm(m.algorithm)
	}
	key := c.modernKey(m.algorithm)
	if m.sha1 {
		b.AddIntegrity(key)
	}
	if m.integrity == 32 {
		b.AddIntegritySHA256(key)
	} else if m.integrity > 0 {
		return behind(b.Bytes(), stun.AttrMessageIntegritySHA256, truncatedMAC(b.Bytes(), key, m.integrity)...)
	}
	return b.Bytes()
}

// try sends an Allocate and notes whether there is an allocation now.
func (c *client) try(m modern, attrs ...attr) reply {
	r := c.exchange(m.sign(c, attrs...))
	if r.ok() {
		c.allocated = true
	}
	return r
}

func passwordAlgorithms(p *probe) {
	c := p.dial()
	offered, sha256 := c.offer()
	mixed := append([]byte{0x7f, 0xff, 0, 0}, offered...)
	for _, bad := range []struct {
		what string
		m    modern
	}{
		{"PASSWORD-ALGORITHMS without PASSWORD-ALGORITHM", modern{algorithms: offered, sha1: true}},
		{"PASSWORD-ALGORITHM without PASSWORD-ALGORITHMS", modern{algorithm: stun.PasswordMD5, sha1: true}},
		{"other PASSWORD-ALGORITHMS than were offered", modern{algorithms: mixed, algorithm: stun.PasswordMD5, sha1: true}},
		{"a PASSWORD-ALGORITHM that was not offered", modern{algorithms: offered, algorithm: 0x7fff, sha1: true}},
	} {
		p.want(bad.what, c.try(bad.m), stun.CodeBadRequest)
	}
	if !sha256 {
		p.note = "SHA-256 is not among them"
		return
	}
	m := modern{algorithms: offered, algorithm: stun.PasswordSHA256, integrity: 32}
	p.want("SHA-256 with MESSAGE-INTEGRITY-SHA256", c.try(m), success)
	old := p.dial()
	old.challenge()
	r := old.try(modern{sha1: true})
	p.want("a client that knows neither", r, success)
	if r.CheckIntegrity(old.cred.key()) != nil {
		p.failf("a client that knows neither: expected MESSAGE-INTEGRITY, got %s", r.attributes())
	}
}

func integritySHA256(p *probe) {
	c := p.dial()
	offered, _ := c.offer()
	m := modern{algorithms: offered, algorithm: stun.PasswordMD5, integrity: 32}
	r := c.try(m)
	p.want("Allocate with MESSAGE-INTEGRITY-SHA256", r, success)
	if err := r.CheckIntegritySHA256(c.modernKey(stun.PasswordMD5), 16); err != nil {
		p.failf("its answer: expected MESSAGE-INTEGRITY-SHA256, got %s (%v)", r.attributes(), err)
	}
	short := p.dial()
	short.challenge()
	for _, n := range []int{12, 18} {
		m.integrity = n
		p.want("MESSAGE-INTEGRITY-SHA256 of "+itoa(n)+" bytes", short.try(m), stun.CodeBadRequest, stun.CodeUnauthenticated)
	}
	m.integrity = 16
	r = short.try(m)
	p.want("MESSAGE-INTEGRITY-SHA256 of 16 bytes, which a server may refuse", r, success, stun.CodeBadRequest, stun.CodeUnauthenticated)
	p.note = "cut to 16 bytes: " + r.String()
}

func userhash(p *probe) {
	c := p.dial()
	r := c.challenge()
	offered, _ := r.Attr(stun.AttrPasswordAlgorithms)
	m := modern{userhash: true, sha1: true}
	if offered != nil {
		m.algorithms, m.algorithm = bytes.Clone(offered), stun.PasswordMD5
	}
	bits, _ := c.features()
	if r = c.try(m); bits&featureAnonymity != 0 {
		p.want("USERHASH as the nonce cookie allows", r, success)
		return
	}
	if r.ok() {
		p.failf("USERHASH without the nonce cookie's bit: expected a refusal, got %v", r)
	}
	p.skipf("the server does not offer user name anonymity; it refuses USERHASH with %v", r)
}
