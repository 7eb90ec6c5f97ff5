package identity

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"errors"
	"fmt"

	"filippo.io/edwards25519"
)

var (
	errEncoding = errors.New("not the canonical encoding of a curve point")
	errLowOrder = errors.New("point of small order")
)

// point returns id as a curve point. It refuses what crypto/ed25519 would take: an encoding with y >= p or with the
// sign of zero (two ids would name one key), and the eight points of small order (any signature can be made to fit
// them, RFC 8032 §8.9 and RFC 7748 §6.1).
func (id DeviceID) point() (*edwards25519.Point, error) {
	p, err := new(edwards25519.Point).SetBytes(id[:])
	if err != nil || DeviceID(p.Bytes()) != id {
		return nil, errEncoding
	}
	if new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return nil, errLowOrder
	}
	return p, nil
}

// X25519 returns the Diffie-Hellman public key that follows from id: u = (1+y)/(1-y), RFC 7748 §4.1.
// It fails for an id that is not a canonical point or is one of small order.
func (id DeviceID) X25519() (*ecdh.PublicKey, error) {
	p, err := id.point()
	if err != nil {
		return nil, fmt.Errorf("identity: device id %s: %w", id.Short(), err)
	}
	return ecdh.X25519().NewPublicKey(p.BytesMontgomery())
}

// Verify reports whether sig is the signature of message by the device id. An id that is not a safe key (see
// ParseDeviceID) verifies nothing, so ids taken from a wire need no check of their own before.
func Verify(id DeviceID, message, sig []byte) bool {
	if _, err := id.point(); err != nil {
		return false
	}
	return ed25519.Verify(id[:], message, sig) // false for a signature of the wrong length
}
