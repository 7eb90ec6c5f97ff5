package pushwire

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// ExporterLabel is what both sides export 32 bytes from the TLS connection by (RFC 8446 §7.5), without a context.
const ExporterLabel = "EXPORTER-Traverse-push"

const (
	clientLabel = "traverse push device"
	serverLabel = "traverse push relay"
	tokenSalt   = "traverse push"
)

// ClientProof is the device's: HMAC-SHA256 by the key of the user's password (RFC 8489 §18.5.1.2). It holds on one connection only.
func ClientProof(key []byte, exported [32]byte, i Instance) Proof {
	return proof(key, clientLabel, exported, i)
}

// ServerProof is the relay's: who has no key of the user's cannot be the user's relay.
func ServerProof(key []byte, exported [32]byte, i Instance) Proof {
	return proof(key, serverLabel, exported, i)
}

func proof(key []byte, label string, exported [32]byte, i Instance) (p Proof) {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(label))
	mac.Write(exported[:])
	mac.Write(i[:])
	mac.Sum(p[:0])
	return p
}

// Equal compares in constant time.
func (p Proof) Equal(other Proof) bool { return hmac.Equal(p[:], other[:]) }

// TokenOf is the mailbox of what sender hands in for recipient in an hour since 1970. secret is what the two share; nobody else
// can compute it, and nobody can tell whose it is or that two are of one pair.
func TokenOf(secret [32]byte, sender, recipient [32]byte, hour int64) (t Token) {
	info := append(append(sender[:], recipient[:]...), 0, 0, 0, 0, 0, 0, 0, 0)
	binary.BigEndian.PutUint64(info[64:], uint64(hour))
	out, err := hkdf.Key(sha256.New, secret[:], []byte(tokenSalt), string(info), len(t))
	if err != nil {
		panic("pushwire: hkdf: " + err.Error()) // only for a length that 16 is not
	}
	return Token(out)
}
