package dtlsserver

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"net/netip"
	"time"
)

const (
	cookieLen = 16 // a 128-bit MAC
	// cookieTime is how long a cookie is sent; it is good for up to twice as long. A client answers within a round trip.
	cookieTime = 30 * time.Second
)

// Gate decides about ClientHellos from addresses that nothing is known about: RFC 6347 §4.2.1. A client has to show that it
// receives what is sent to its address before anything is remembered about it. Cookies are computed from the address and
// the client's random, so that the Gate keeps nothing and allocates nothing, whatever comes. It belongs to one goroutine.
type Gate struct {
	mac   hash.Hash
	input [8 + 16 + 2 + 32]byte
	sum   [sha256.Size]byte
}

// NewGate returns a gate with a key of its own.
func NewGate() *Gate {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails since Go 1.24
	return &Gate{mac: hmac.New(sha256.New, key[:])}
}

// Verdict is what a Gate found.
type Verdict uint8

// The verdicts.
const (
	NoHello  Verdict = iota // not a whole ClientHello
	NoCookie                // one without a cookie that holds: the answer asks for it, or says that DTLS 1.0 is not spoken here
	Proven                  // Begin takes it
)

// Check judges a datagram. The answer, of at most 60 bytes and shorter than the datagram, is appended to dst.
func (g *Gate) Check(now time.Time, client netip.AddrPort, datagram, dst []byte) (Verdict, []byte) {
	h, ok := parseHello(datagram)
	if !ok {
		return NoHello, nil
	}
	if h.old { // clients that try one version after the other would wait in vain
		dst = appendRecordHeader(dst, typeAlert, version10, 0, h.record, 2)
		return NoCookie, append(dst, alertFatal, alertProtocolVersion)
	}
	period := now.UnixNano() / int64(cookieTime)
	if len(h.cookie) == cookieLen {
		for _, p := range [2]int64{period, period - 1} {
			if subtle.ConstantTimeCompare(g.cookie(p, client, h.random), h.cookie) == 1 {
				return Proven, nil
			}
		}
	}
	// RFC 6347 §4.2.1: with the number of the ClientHello's record, and as DTLS 1.0, which every client takes here.
	const body = 2 + 1 + cookieLen
	dst = appendRecordHeader(dst, typeHandshake, version10, 0, h.record, messageHeader+body)
	dst = appendMessageHeader(dst, msgHelloVerifyRequest, 0, body, 0, body)
	dst = binary.BigEndian.AppendUint16(dst, version10)
	dst = append(dst, cookieLen)
	return NoCookie, append(dst, g.cookie(period, client, h.random)...)
}

// MayBeHello says whether a datagram may be a ClientHello, which is quicker than to Check it.
func MayBeHello(datagram []byte) bool {
	return len(datagram) > recordHeader && datagram[0] == typeHandshake && datagram[recordHeader] == msgClientHello
}

// MayBeHandshake says whether a datagram begins with something of a handshake, rather than with what Session.Seal made.
func MayBeHandshake(datagram []byte) bool {
	return len(datagram) > recordHeader && (datagram[0] == typeHandshake || datagram[0] == typeChangeCipherSpec)
}

// cookie is valid until the next call.
func (g *Gate) cookie(period int64, client netip.AddrPort, random []byte) []byte {
	binary.BigEndian.PutUint64(g.input[:], uint64(period))
	ip := client.Addr().As16()
	copy(g.input[8:], ip[:])
	binary.BigEndian.PutUint16(g.input[24:], client.Port())
	copy(g.input[26:], random)
	g.mac.Reset()
	_, _ = g.mac.Write(g.input[:])
	return g.mac.Sum(g.sum[:0])[:cookieLen]
}
