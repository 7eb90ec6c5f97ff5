package conformance

import (
	"net/netip"

	"traverse.internal/core/stun"
)

// credentials sign requests with the long-term mechanism of RFC 8489 §9.2.
type credentials struct {
	user, password, realm string
	nonce                 []byte
	without               stun.AttrType // left out
}

func (cr credentials) key() []byte { return stun.LongTermKey(cr.user, cr.realm, cr.password) }

// sign returns a signed request.
func (cr credentials) sign(m stun.Method, attrs ...attr) []byte {
	b := stun.New(nil, m.Request(), stun.NewTransactionID())
	for _, add := range attrs {
		add(&b)
	}
	if cr.without != stun.AttrUsername {
		b.AddText(stun.AttrUsername, cr.user)
	}
	if cr.without != stun.AttrRealm {
		b.AddText(stun.AttrRealm, cr.realm)
	}
	if cr.without != stun.AttrNonce {
		b.Add(stun.AttrNonce, cr.nonce)
	}
	b.AddIntegrity(cr.key())
	return b.Bytes()
}

// challenge fetches realm and nonce for the 5-tuple.
func (c *client) challenge() reply {
	r := c.exchange(build(stun.MethodAllocate.Request(), udpRelay))
	c.p.want("Allocate without credentials", r, stun.CodeUnauthenticated)
	c.learn(r)
	return r
}

// learn takes realm and nonce from an answer.
func (c *client) learn(r reply) {
	realm, errRealm := r.Text(stun.AttrRealm)
	nonce, errNonce := r.Text(stun.AttrNonce)
	if errRealm != nil || errNonce != nil {
		c.p.failf("a challenge: expected REALM and NONCE, got %s", r.attributes())
	}
	if want := c.p.config.Realm; want != "" && want != string(realm) {
		c.p.failf("a challenge: expected realm %q, got %q", want, realm)
	}
	c.cred.realm, c.cred.nonce = string(realm), append([]byte(nil), nonce...)
}

// signed returns a request with the client's credentials.
func (c *client) signed(m stun.Method, attrs ...attr) []byte {
	if c.cred.nonce == nil {
		c.challenge()
	}
	return c.cred.sign(m, attrs...)
}

// ask sends a signed request, with a new nonce when the old one is stale.
func (c *client) ask(m stun.Method, attrs ...attr) reply {
	r := c.exchange(c.signed(m, attrs...))
	if r.came && r.code == stun.CodeStaleNonce {
		c.learn(r)
		r = c.exchange(c.cred.sign(m, attrs...))
	}
	if m == stun.MethodAllocate && r.ok() {
		c.allocated = true
	}
	return r
}

// allocate makes an allocation, of the family of the server's address where it can, and returns its relayed address.
func (c *client) allocate(attrs ...attr) netip.AddrPort {
	if stun.FamilyOf(c.p.server.Addr()) == stun.FamilyIPv6 {
		r := c.ask(stun.MethodAllocate, append([]attr{udpRelay, withFamily(stun.FamilyIPv6)}, attrs...)...)
		if r.ok() {
			return c.relayed(r)
		}
	}
	return c.allocateWith(append([]attr{udpRelay}, attrs...)...)
}

// allocateFamily makes an allocation of a family, or skips the check.
func (c *client) allocateFamily(f stun.Family, attrs ...attr) netip.AddrPort {
	r := c.ask(stun.MethodAllocate, append([]attr{udpRelay, withFamily(f)}, attrs...)...)
	if r.came && r.code == stun.CodeFamilyNotSupported {
		c.p.skipf("the server has no %v relay", f)
	}
	c.p.want("Allocate of "+f.String(), r, success)
	return c.relayed(r)
}

// allocateTCP makes a TCP allocation, or skips the check.
func (c *client) allocateTCP() netip.AddrPort {
	r := c.ask(stun.MethodAllocate, tcpRelay)
	if r.noTCPRelays() {
		c.p.skipf("the server has no TCP allocations: %v", r)
	}
	c.p.want("Allocate of TCP", r, success)
	return c.relayed(r)
}

// allocateWith makes an allocation that asks for nothing but the attributes.
func (c *client) allocateWith(attrs ...attr) netip.AddrPort {
	r := c.ask(stun.MethodAllocate, attrs...)
	c.p.want("Allocate", r, success)
	return c.relayed(r)
}

func (c *client) relayed(r reply) netip.AddrPort {
	at, err := r.XORAddr(stun.AttrXORRelayedAddress)
	if err != nil {
		c.p.failf("Allocate: expected XOR-RELAYED-ADDRESS, got %s", r.attributes())
	}
	return at
}

// permit makes permissions for peers. A server that forbids the suite's peers cannot be asked more.
func (c *client) permit(peers ...netip.AddrPort) {
	var attrs []attr
	for _, peer := range peers {
		attrs = append(attrs, withPeer(peer))
	}
	r := c.ask(stun.MethodCreatePermission, attrs...)
	if r.came && r.code == stun.CodeForbidden {
		c.p.skipf("the server forbids peers at %v: --peer, or allow them", peers[0].Addr())
	}
	c.p.want("CreatePermission", r, success)
}

// bind binds a channel.
func (c *client) bind(n uint16, peer netip.AddrPort) {
	r := c.ask(stun.MethodChannelBind, withChannel(n), withPeer(peer))
	if r.came && r.code == stun.CodeForbidden {
		c.p.skipf("the server forbids peers at %v: --peer, or allow them", peer.Addr())
	}
	c.p.want("ChannelBind", r, success)
}
