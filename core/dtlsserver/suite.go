package dtlsserver

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
)

// suite is a cipher suite: RFC 5289.
type suite struct {
	id   uint16
	rsa  bool // signed with an RSA key; otherwise ECDSA or Ed25519, RFC 8422 §2.1
	key  int  // bytes
	hash func() hash.Hash
}

// suites in the order of our preference.
var suites = []suite{
	{0xc02b, false, 16, sha256.New},
	{0xc02f, true, 16, sha256.New},
	{0xc02c, false, 32, sha512.New384},
	{0xc030, true, 32, sha512.New384},
}

// groups in the order of our preference, by their numbers: RFC 8422 §5.1.1.
var groups = []struct {
	id    uint16
	curve ecdh.Curve
}{
	{29, ecdh.X25519()},
	{23, ecdh.P256()},
	{24, ecdh.P384()},
}

// scheme is how a key signs: RFC 8446 §4.2.3, whose numbers are those of TLS 1.2 too.
type scheme struct {
	id   uint16
	hash crypto.Hash // 0: the message itself is signed
	pss  bool
}

var (
	schemesECDSA   = []scheme{{id: 0x0403, hash: crypto.SHA256}, {id: 0x0503, hash: crypto.SHA384}, {id: 0x0603, hash: crypto.SHA512}}
	schemesEd25519 = []scheme{{id: 0x0807}}
	schemesRSA     = []scheme{
		{id: 0x0804, hash: crypto.SHA256, pss: true},
		{id: 0x0401, hash: crypto.SHA256},
		{id: 0x0501, hash: crypto.SHA384},
		{id: 0x0601, hash: crypto.SHA512},
	}
)

// schemesOf returns what a key can do, nil when we cannot use it.
func schemesOf(key crypto.Signer) (list []scheme, isRSA bool) {
	switch key.Public().(type) {
	case *ecdsa.PublicKey:
		return schemesECDSA, false
	case ed25519.PublicKey:
		return schemesEd25519, false
	case *rsa.PublicKey:
		return schemesRSA, true
	}
	return nil, false
}

func (s scheme) sign(key crypto.Signer, content []byte) ([]byte, error) {
	var opts crypto.SignerOpts = s.hash
	if s.pss {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.hash}
	}
	if s.hash != 0 {
		h := s.hash.New()
		h.Write(content)
		content = h.Sum(nil)
	}
	return key.Sign(rand.Reader, content, opts)
}

// prf fills out: RFC 5246 §5.
func prf(h func() hash.Hash, out, secret []byte, label string, seeds ...[]byte) {
	mac := hmac.New(h, secret)
	write := func(with []byte) []byte {
		mac.Reset()
		mac.Write(with)
		mac.Write([]byte(label))
		for _, seed := range seeds {
			mac.Write(seed)
		}
		return mac.Sum(nil)
	}
	a := write(nil)
	for len(out) > 0 {
		n := copy(out, write(a))
		out = out[n:]
		mac.Reset()
		mac.Write(a)
		a = mac.Sum(nil)
	}
}

// half is one direction of a session.
type half struct {
	aead cipher.AEAD
	// The implicit and explicit part of the nonce, and what is authenticated with the content; here, because they are
	// handed to an interface and would be allocated for every record.
	nonce [4 + explicitLen]byte
	extra [recordHeader]byte
}

// newHalves makes the client's and the server's direction: RFC 5246 §6.3.
func newHalves(s suite, master, clientRandom, serverRandom []byte) (client, server half) {
	block := make([]byte, 2*s.key+2*4)
	prf(s.hash, block, master, "key expansion", serverRandom, clientRandom)
	for i, h := range []*half{&client, &server} {
		b, err := aes.NewCipher(block[i*s.key : (i+1)*s.key])
		if err == nil {
			h.aead, err = cipher.NewGCM(b)
		}
		if err != nil {
			panic("dtlsserver: " + err.Error()) // our own mistake: a suite with a wrong length
		}
		copy(h.nonce[:], block[2*s.key+4*i:][:4])
	}
	return client, server
}
