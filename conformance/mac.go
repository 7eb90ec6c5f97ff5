package conformance

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strconv"

	"traverse.internal/core/stun"
)

// truncatedMAC returns the first n bytes of the MESSAGE-INTEGRITY-SHA256 of a message to which it is to be appended: the
// length that is covered counts it (RFC 8489 §14.6). Package stun makes whole ones only.
func truncatedMAC(raw, key []byte, n int) []byte {
	head := [4]byte(raw)
	binary.BigEndian.PutUint16(head[2:], uint16(len(raw)-stun.HeaderLen+4+(n+3)&^3))
	h := hmac.New(sha256.New, key)
	h.Write(head[:])
	h.Write(raw[4:])
	return h.Sum(nil)[:n]
}

func itoa(n int) string { return strconv.Itoa(n) }
