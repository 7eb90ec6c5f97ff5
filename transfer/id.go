package transfer

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

// idPrefix and idDigits: "t-" and 128 bits as base32, ceil(128/5) = 26 characters.
const (
	idPrefix = "t-"
	idDigits = 26

	scheme = "file://"
	again  = "file-again://"
)

var idAlphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewID makes a transfer id: "t-" and 26 lower-case base32 characters, 128 random
// bits, so that two never meet. People may shorten it as long as it stays unique
// among the transfers they have.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails since Go 1.24
	return idPrefix + idAlphabet.EncodeToString(b[:])
}

// ValidID reports whether s has the form of NewID.
func ValidID(s string) bool {
	digits, ok := strings.CutPrefix(s, idPrefix)
	if !ok || len(digits) != idDigits {
		return false
	}
	for _, c := range []byte(digits) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// ChannelName is the name of the channel that carries transfer id.
func ChannelName(id string) string { return scheme + id }

// ParseChannelName returns the transfer id of a channel's name, and false when
// the channel is not a transfer's.
func ParseChannelName(name string) (id string, ok bool) {
	id, ok = strings.CutPrefix(name, scheme)
	return id, ok && ValidID(id)
}

// AgainName is the name of the channel by which a receiver asks the sender to offer transfer id again. It carries nothing.
func AgainName(id string) string { return again + id }

// ParseAgainName returns the transfer id of such a channel's name.
func ParseAgainName(name string) (id string, ok bool) {
	id, ok = strings.CutPrefix(name, again)
	return id, ok && ValidID(id)
}
