package signalling

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"math/big"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"
)

// A second implementation of the envelope, written from docs/protocol/signalling.md and RFC 9180 alone: HPKE by hand
// from HMAC up, and nothing of the package used. It checks that the page says enough, and says it right.

type indepMessage struct {
	kind      byte
	sender    []byte // 32
	recipient []byte // 32
	id        []byte // 16
	expiry    uint64
	hash      []byte // 32
	body      []byte
}

func indepExtract(salt, ikm []byte) []byte {
	h := hmac.New(sha256.New, salt)
	h.Write(ikm)
	return h.Sum(nil)
}

func indepExpand(prk, info []byte, n int) []byte {
	var out, last []byte
	for i := byte(1); len(out) < n; i++ {
		h := hmac.New(sha256.New, prk)
		h.Write(last)
		h.Write(info)
		h.Write([]byte{i})
		last = h.Sum(nil)
		out = append(out, last...)
	}
	return out[:n]
}

// RFC 9180 §4: LabeledExtract and LabeledExpand.
func indepLabeledExtract(suite string, salt []byte, label string, ikm []byte) []byte {
	return indepExtract(salt, slices.Concat([]byte("HPKE-v1"), []byte(suite), []byte(label), ikm))
}

func indepLabeledExpand(suite string, prk []byte, label string, info []byte, n int) []byte {
	return indepExpand(prk, slices.Concat([]byte{byte(n >> 8), byte(n)}, []byte("HPKE-v1"), []byte(suite), []byte(label), info), n)
}

// indepKeys is RFC 9180 §4.1 and §5.1, base mode, for KEM 0x0020, KDF 0x0001, AEAD 0x0003.
func indepKeys(dh, enc, recipientX, info []byte) (key, nonce []byte) {
	const kem = "KEM\x00\x20"
	prk := indepLabeledExtract(kem, nil, "eae_prk", dh)
	shared := indepLabeledExpand(kem, prk, "shared_secret", slices.Concat(enc, recipientX), 32)

	const suite = "HPKE\x00\x20\x00\x01\x00\x03"
	context := slices.Concat([]byte{0},
		indepLabeledExtract(suite, nil, "psk_id_hash", nil), indepLabeledExtract(suite, nil, "info_hash", info))
	secret := indepLabeledExtract(suite, shared, "secret", nil)
	return indepLabeledExpand(suite, secret, "key", context, 32), indepLabeledExpand(suite, secret, "base_nonce", context, 12)
}

// indepX25519 is the X25519 key of an Ed25519 seed.
func indepX25519(seed []byte) *ecdh.PrivateKey {
	h := sha512.Sum512(seed)
	key, err := ecdh.X25519().NewPrivateKey(h[:32]) // X25519 clamps by itself
	if err != nil {
		panic(err)
	}
	return key
}

// indepMontgomery maps an Ed25519 public key to the X25519 one: u = (1+y)/(1-y).
func indepMontgomery(id []byte) *ecdh.PublicKey {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	little := slices.Clone(id)
	little[31] &= 0x7f
	slices.Reverse(little)
	y, one := new(big.Int).SetBytes(little), big.NewInt(1)
	u := new(big.Int).ModInverse(new(big.Int).Mod(new(big.Int).Sub(one, y), p), p)
	u.Mod(u.Mul(u, new(big.Int).Add(one, y)), p)
	out := u.FillBytes(make([]byte, 32))
	slices.Reverse(out)
	key, err := ecdh.X25519().NewPublicKey(out)
	if err != nil {
		panic(err)
	}
	return key
}

// indepSeal seals with the ephemeral key given, so that the bytes come out the same every time.
func indepSeal(ephemeral *ecdh.PrivateKey, senderSeed []byte, m indepMessage) []byte {
	content := slices.Concat([]byte{m.kind}, m.sender, m.id, binary.BigEndian.AppendUint64(nil, m.expiry), m.hash,
		[]byte{byte(len(m.body) >> 8), byte(len(m.body))}, m.body)
	sig := ed25519.Sign(ed25519.NewKeyFromSeed(senderSeed),
		slices.Concat([]byte("traverse signalling signature\x01\x01"), m.recipient, content))
	plain := slices.Concat(sig, content)
	size := 846
	if len(plain) > size {
		size = 942
	}
	plain = append(plain, make([]byte, size-len(plain))...)

	recipientX := indepMontgomery(m.recipient)
	dh, err := ephemeral.ECDH(recipientX)
	if err != nil {
		panic(err)
	}
	enc := ephemeral.PublicKey().Bytes()
	key, nonce := indepKeys(dh, enc, recipientX.Bytes(), slices.Concat([]byte("traverse signalling seal\x01\x01"), m.recipient))
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		panic(err)
	}
	return aead.Seal(slices.Concat([]byte{1, 1}, enc), nonce, plain, nil)
}

// indepOpen is the other direction.
func indepOpen(recipientSeed, sealed []byte) (indepMessage, error) {
	var m indepMessage
	if len(sealed) != 896 && len(sealed) != 992 || sealed[0] != 1 || sealed[1] != 1 {
		return m, errors.New("length, version or suite")
	}
	private := indepX25519(recipientSeed)
	enc, box := sealed[2:34], sealed[34:]
	ephemeral, err := ecdh.X25519().NewPublicKey(enc)
	if err != nil {
		return m, err
	}
	dh, err := private.ECDH(ephemeral)
	if err != nil {
		return m, err
	}
	m.recipient = ed25519.NewKeyFromSeed(recipientSeed).Public().(ed25519.PublicKey)
	key, nonce := indepKeys(dh, enc, private.PublicKey().Bytes(), slices.Concat([]byte("traverse signalling seal\x01\x01"), m.recipient))
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return m, err
	}
	plain, err := aead.Open(nil, nonce, box, nil)
	if err != nil {
		return m, err
	}
	sig, content := plain[:64], plain[64:]
	m.kind, m.sender, m.id = content[0], content[1:33], content[33:49]
	m.expiry, m.hash = binary.BigEndian.Uint64(content[49:57]), content[57:89]
	n := int(content[89])<<8 | int(content[90])
	if m.kind < 1 || m.kind > 4 || m.expiry > 1<<40 || 91+n > len(content) {
		return m, errors.New("content")
	}
	if m.kind != 2 && !slices.Equal(m.hash, make([]byte, 32)) {
		return m, errors.New("request hash")
	}
	m.body = content[91 : 91+n]
	if rest := content[91+n:]; !slices.Equal(rest, make([]byte, len(rest))) {
		return m, errors.New("padding")
	}
	if !ed25519.Verify(m.sender, slices.Concat([]byte("traverse signalling signature\x01\x01"), m.recipient, content[:91+n]), sig) {
		return m, errors.New("signature")
	}
	return m, nil
}

func sha256Of(b []byte) []byte {
	h := sha256.Sum256(b)
	return h[:]
}
