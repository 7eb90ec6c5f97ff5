package identity

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

// A Device is one's own identity: the private key and the certificate by the same key. It never changes once made and
// is safe for concurrent use.
type Device struct {
	id   DeviceID
	key  ed25519.PrivateKey
	dh   *ecdh.PrivateKey
	leaf *x509.Certificate
}

// The certificate says which key is meant and nothing else, so it has no end that could cut a device off: peers look
// at the key alone. RFC 5280 §4.1.2.5 names the last second of 9999 for "no well-defined expiration date". The
// beginning is a fixed one, because a device may make its certificate before its clock is set.
var (
	notBefore = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// New makes a device in memory; nothing is stored.
func New() (*Device, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("identity: make key: %w", err)
	}
	der, err := selfSign(key)
	if err != nil {
		return nil, err
	}
	device, err := newDevice(key, der)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return device, nil
}

// selfSign makes the certificate of key.
func selfSign(key ed25519.PrivateKey) ([]byte, error) {
	// RFC 5280 §4.1.2.2: positive, at most 20 bytes; 127 random bits make it unique.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("identity: make certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: idOf(key).String()}, // 63 characters, X.520 allows 64
		NotBefore:    notBefore,
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, // a device is either
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("identity: make certificate: %w", err)
	}
	return der, nil
}

// newDevice binds key and certificate; it fails when the certificate is not key's own.
func newDevice(key ed25519.PrivateKey, der []byte) (*Device, error) {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	pub, ok := leaf.PublicKey.(ed25519.PublicKey)
	if !ok || !pub.Equal(key.Public()) {
		return nil, fmt.Errorf("certificate is not the key's own")
	}
	// CheckSignatureFrom would ask for a CA; any one changed byte of the certificate shows here.
	if err := leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	dh, err := dhKey(key)
	if err != nil {
		return nil, err
	}
	return &Device{id: idOf(key), key: key, dh: dh, leaf: leaf}, nil
}

// dhKey returns the X25519 secret of key: the scalar RFC 8032 §5.1.5 derives from the seed, so that its public half is
// the id's X25519.
func dhKey(key ed25519.PrivateKey) (*ecdh.PrivateKey, error) {
	h := sha512.Sum512(key.Seed())
	scalar := h[:32]
	scalar[0] &= 248
	scalar[31] &= 127
	scalar[31] |= 64
	return ecdh.X25519().NewPrivateKey(scalar)
}

func idOf(key ed25519.PrivateKey) DeviceID { return DeviceID(key.Public().(ed25519.PublicKey)) }

// ID returns the device's id.
func (d *Device) ID() DeviceID { return d.id }

// Sign returns the 64-byte Ed25519 signature of message.
func (d *Device) Sign(message []byte) []byte { return ed25519.Sign(d.key, message) }

// Certificate returns the self-signed certificate with its key, ready for a TLS configuration. The slices are shared:
// do not change them.
func (d *Device) Certificate() stdtls.Certificate {
	return stdtls.Certificate{Certificate: [][]byte{d.leaf.Raw}, PrivateKey: d.key, Leaf: d.leaf}
}

// ECDH returns the X25519 private key; its public half is ID().X25519().
func (d *Device) ECDH() *ecdh.PrivateKey { return d.dh }

// Shared returns X25519(d, peer), the 32 bytes that only these two devices can compute: peer.Shared(d) is the same.
// It is a secret to derive keys from, not a key.
func (d *Device) Shared(peer DeviceID) ([32]byte, error) {
	pub, err := peer.X25519()
	if err != nil {
		return [32]byte{}, err
	}
	secret, err := d.dh.ECDH(pub)
	if err != nil {
		return [32]byte{}, fmt.Errorf("identity: shared secret with %s: %w", peer.Short(), err)
	}
	return [32]byte(secret), nil
}
