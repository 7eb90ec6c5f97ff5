package turn

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"traverse.internal/turn/alloc"
)

// nonceLen is 2 bytes of time and 12 of MAC in base64 without padding. Short, because the answer to a stranger shall not be
// much longer than the question; 96 bits of MAC are still beyond guessing.
const nonceLen = ((2+12)*8 + 5) / 6 // 19

// nonceCookie precedes the nonce of an answer that offers password algorithms: RFC 8489 §9.2. Its 24 bits are base64 of
// bit 0, password algorithms, and bit 1, user name anonymity. Who takes the offer away on the path has to take the cookie
// away, too, or the client sees it; and without the cookie the nonce is not valid.
const nonceCookie = "obMatJos2" + "wAAA"

// nonces makes and checks nonces without remembering any: each says when it was made, and proves that it was made by us
// for the client's address.
//
//	time of making, seconds, 2 bytes │ HMAC-SHA256(key of that time's period, offer, time, transport, port, address), 12 bytes
//
// The whole time is in the MAC, so that a nonce of 65,536 s before is not mistaken for a new one.
//
// The key changes with every lifetime; a nonce names its time and with it its key, so those made just before a change stay
// good for their lifetime.
//
// Servers with the same fleet key take each other's nonces: a client that comes to another of them is not sent back.
type nonces struct {
	lifetime time.Duration
	makers   atomic.Pointer[[]*nonceMaker] // the first makes; what any of them made is good
}

// nonceMaker derives the keys of periods from one secret.
type nonceMaker struct {
	master [32]byte
	recent atomic.Pointer[[2]periodKey] // the present period's key and the one before
}

type periodKey struct {
	period int64
	key    [32]byte
}

// clockSkew is how far ahead of ours the clock of another server of the fleet may be.
const clockSkew = 10 * time.Second

// newNonces makes them with fleet keys, or, without any, with a secret that ends with the process.
func newNonces(lifetime time.Duration, fleet []string) *nonces {
	n := &nonces{lifetime: lifetime}
	n.setKeys(fleet)
	return n
}

// setKeys replaces the fleet keys. Nonces made with a key that is gone are answered with 438 and a new one.
func (n *nonces) setKeys(fleet []string) {
	var makers []*nonceMaker
	for _, key := range fleet {
		makers = append(makers, &nonceMaker{master: sha256.Sum256([]byte("traverse turnd nonces 1\x00" + key))})
	}
	if len(makers) == 0 {
		m := &nonceMaker{}
		_, _ = rand.Read(m.master[:]) // never fails since Go 1.24
		makers = append(makers, m)
	}
	n.makers.Store(&makers)
}

// append appends a nonce for a client: with the cookie, when password algorithms are offered along with it.
func (n *nonces) append(dst []byte, now time.Time, client alloc.FiveTuple, offer bool) []byte {
	raw := n.make((*n.makers.Load())[0], now.Unix(), client.Client, client.Transport, offer)
	if offer {
		dst = append(dst, nonceCookie...)
	}
	return base64.RawURLEncoding.AppendEncode(dst, raw[:])
}

// valid says whether the nonce was made for this client within the lifetime, and whether with an offer.
func (n *nonces) valid(nonce []byte, now time.Time, client alloc.FiveTuple) (offer, valid bool) {
	var raw [14]byte
	if offer = bytes.HasPrefix(nonce, []byte(nonceCookie)); offer {
		nonce = nonce[len(nonceCookie):]
	}
	if len(nonce) != nonceLen {
		return false, false
	}
	if k, err := base64.RawURLEncoding.Strict().Decode(raw[:], nonce); err != nil || k != len(raw) {
		return false, false
	}
	age := int64(uint16(now.Unix()) - binary.BigEndian.Uint16(raw[:])) // one of the future is very old
	if age >= 1<<16-int64(clockSkew/time.Second) {
		age -= 1 << 16
	}
	if time.Duration(age)*time.Second >= n.lifetime {
		return false, false
	}
	for _, m := range *n.makers.Load() {
		want := n.make(m, now.Unix()-age, client.Client, client.Transport, offer)
		valid = valid || hmac.Equal(raw[:], want[:])
	}
	return offer, valid
}

func (n *nonces) make(m *nonceMaker, at int64, client netip.AddrPort, transport alloc.Transport, offer bool) (raw [14]byte) {
	var msg [8 + 1 + 1 + 2 + 16]byte // always of one length: no two clients look the same
	binary.BigEndian.PutUint64(msg[:], uint64(at))
	msg[8] = byte(transport)
	if offer {
		msg[9] = 1
	}
	binary.BigEndian.PutUint16(msg[10:], client.Port())
	addr := client.Addr().As16()
	copy(msg[12:], addr[:])
	mac := hmac256(m.key(at/int64(max(1, n.lifetime/time.Second))), msg[:])
	binary.BigEndian.PutUint16(raw[:], uint16(at))
	copy(raw[2:], mac[:])
	return raw
}

// key returns the key of a period.
func (n *nonceMaker) key(period int64) [32]byte {
	recent := n.recent.Load()
	if recent != nil {
		for _, k := range recent {
			if k.period == period {
				return k.key
			}
		}
	}
	fresh := periodKey{period: period}
	var msg [8]byte
	binary.BigEndian.PutUint64(msg[:], uint64(period))
	fresh.key = hmac256(n.master, msg[:])
	if recent == nil {
		n.recent.Store(&[2]periodKey{fresh})
	} else if period > recent[0].period {
		n.recent.Store(&[2]periodKey{fresh, recent[0]})
	}
	return fresh.key
}

// hmac256 is HMAC-SHA256 (RFC 2104) for messages of at most 64 bytes. Unlike crypto/hmac it allocates nothing.
func hmac256(key [32]byte, msg []byte) [32]byte {
	var in [64 + 64]byte
	var out [64 + 32]byte
	for i := range 64 {
		in[i], out[i] = 0x36, 0x5c
	}
	for i, k := range key {
		in[i] ^= k
		out[i] ^= k
	}
	n := copy(in[64:], msg)
	inner := sha256.Sum256(in[:64+n])
	copy(out[64:], inner[:])
	return sha256.Sum256(out[:])
}
