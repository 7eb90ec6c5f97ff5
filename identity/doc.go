// Package identity is who a device is: its Ed25519 key, the certificate it shows, and the DeviceID others call it by.
//
// A DeviceID is the public key itself, not a hash of it, so that a first caller can seal a message to a device of which
// it knows nothing else, and so that "is this the right peer?" is a comparison of 32 bytes. Printed, it is 56 base32
// characters in eight groups of seven; every fourteenth is a check digit that catches any one wrong character.
// ParseDeviceID accepts only keys that are safe to use: a canonical encoding of a curve point outside the small
// subgroup. A key of small order would verify forged signatures and make a shared secret everybody knows.
//
// A Device holds the private key. New makes one in memory, Create stores a new one, Load reads it back. There is one
// file, readable by its owner only; Create never overwrites it, because a lost identity cannot be made again:
//
//	device, err := identity.Load(dir)
//	if errors.Is(err, identity.ErrMissing) {
//		device, err = identity.Create(dir)
//	}
//
// The same key also serves for X25519 (sealing, pairwise secrets), by the birational map between the two curves. The
// bytes of all this, with test vectors, are in docs/protocol/identity.md.
//
// There is no goroutine here, and after Create or Load no I/O. All types are safe for concurrent use.
package identity
