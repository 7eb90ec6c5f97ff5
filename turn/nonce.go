package turn

import (
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

// nonceLen is 4 bytes of time and 12 of MAC in base64 without padding. Short, because the answer to a stranger shall not be
// much longer than the question; 96 bits of MAC are still beyond guessing.
const nonceLen = ((4+12)*8 + 5) / 6 // 22

// nonces makes and checks nonces without remembering any: each says when it was made, and proves that it was made by us
// for the client's address.
//
//	time of making, seconds, 4 bytes │ HMAC-SHA256(key of that time's period, time, transport, port, address), 12 bytes
//
// The key changes with every lifetime; a nonce names its time and with it its key, so those made just before a change stay
// good for their lifetime.
type nonces struct {
	master   [32]byte
	lifetime time.Duration
	recent   atomic.Pointer[[2]periodKey] // the present period's key and the one before
}

type periodKey struct {
	period int64
	key    [32]byte
}

func newNonces(lifetime time.Duration) *nonces {
	n := &nonces{lifetime: lifetime}
	_, _ = rand.Read(n.master[:]) // never fails since Go 1.24
	return n
}

// append appends a nonce for a client.
func (n *nonces) append(dst []byte, now time.Time, client alloc.FiveTuple) []byte {
	raw := n.make(now.Unix(), client.Client, client.Transport)
	return base64.RawURLEncoding.AppendEncode(dst, raw[:])
}

// valid says whether the nonce was made for this client within the lifetime.
func (n *nonces) valid(nonce []byte, now time.Time, client alloc.FiveTuple) bool {
	var raw [16]byte
	if len(nonce) != nonceLen {
		return false
	}
	if k, err := base64.RawURLEncoding.Decode(raw[:], nonce); err != nil || k != len(raw) {
		return false
	}
	// 32 bits of seconds last until 2106; the difference is right beyond that, too.
	age := int32(uint32(now.Unix()) - binary.BigEndian.Uint32(raw[:]))
	if age < 0 || time.Duration(age)*time.Second >= n.lifetime {
		return false
	}
	want := n.make(now.Unix()-int64(age), client.Client, client.Transport)
	return hmac.Equal(raw[:], want[:])
}

func (n *nonces) make(at int64, client netip.AddrPort, transport alloc.Transport) (raw [16]byte) {
	var msg [4 + 1 + 2 + 16]byte // always of one length: no two clients look the same
	binary.BigEndian.PutUint32(msg[:], uint32(at))
	msg[4] = byte(transport)
	binary.BigEndian.PutUint16(msg[5:], client.Port())
	addr := client.Addr().As16()
	copy(msg[7:], addr[:])
	mac := hmac256(n.key(at/int64(max(1, n.lifetime/time.Second))), msg[:])
	copy(raw[:4], msg[:4])
	copy(raw[4:], mac[:])
	return raw
}

// key returns the key of a period.
func (n *nonces) key(period int64) [32]byte {
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
