package stun

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"strings"
	"sync"
)

// Errors of the checks; a missing attribute is ErrMissing.
var (
	ErrIntegrity   = errors.New("stun: integrity check failed")
	ErrFingerprint = errors.New("stun: fingerprint is wrong")
)

// fingerprintXOR keeps a FINGERPRINT from looking like the CRC-32 that another protocol put into its packet.
const fingerprintXOR = 0x5354554e

// LongTermKey returns the key of the long-term mechanism, MD5(user ":" realm ":" password) (RFC 8489 §9.2.2).
func LongTermKey(user, realm, password string) []byte {
	sum := md5.Sum([]byte(credential(user, realm, password)))
	return sum[:]
}

// KeySHA256 returns the key for the password algorithm SHA-256 (RFC 8489 §18.5.1.2).
func KeySHA256(user, realm, password string) []byte {
	sum := sha256.Sum256([]byte(credential(user, realm, password)))
	return sum[:]
}

// Userhash returns the value of USERHASH (RFC 8489 §14.4).
func Userhash(user, realm string) [32]byte {
	return sha256.Sum256([]byte(user + ":" + opaque(realm)))
}

// credential joins the three; quotes around user name and realm and trailing nulls do not belong to them. Realm and password
// are prepared first, the user name stands in the message as it is prepared.
func credential(user, realm, password string) string {
	bare := func(s string) string {
		s = strings.TrimRight(s, "\x00")
		if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
			s = s[1 : len(s)-1]
		}
		return s
	}
	return bare(user) + ":" + opaque(bare(realm)) + ":" + opaque(strings.TrimRight(password, "\x00"))
}

// mac computes HMACs without allocating, which crypto/hmac cannot for a new key. Both hashes have blocks of 64 bytes.
type mac struct {
	sha1, sha256 hash.Hash
	block        [sha1.BlockSize]byte
	head         [HeaderLen]byte
	sum          [sha256.Size]byte
}

// macs holds idle states: as many as there were calls at once.
var macs = sync.Pool{New: func() any { return &mac{sha1: sha1.New(), sha256: sha256.New()} }}

// compute returns HMAC(key, msg) with the length field of msg, a prefix of a message, replaced by length. The result
// lives in s.
func (s *mac) compute(h hash.Hash, key, msg []byte, length int) []byte {
	clear(s.block[:])
	if len(key) > len(s.block) {
		h.Reset()
		h.Write(key)
		h.Sum(s.block[:0])
	} else {
		copy(s.block[:], key)
	}
	copy(s.head[:], msg)
	binary.BigEndian.PutUint16(s.head[2:], uint16(length))

	const inner, outer = 0x36, 0x5c // RFC 2104 §2
	for i := range s.block {
		s.block[i] ^= inner
	}
	h.Reset()
	h.Write(s.block[:])
	h.Write(s.head[:])
	h.Write(msg[HeaderLen:])
	sum := h.Sum(s.sum[:0])
	for i := range s.block {
		s.block[i] ^= inner ^ outer
	}
	h.Reset()
	h.Write(s.block[:])
	h.Write(sum)
	return h.Sum(s.sum[:0])
}

// release forgets the key.
func (s *mac) release() {
	clear(s.block[:])
	macs.Put(s)
}

// CheckIntegrity compares MESSAGE-INTEGRITY with what key gives, in constant time. It returns nil, ErrMissing or
// ErrIntegrity.
func (m Message) CheckIntegrity(key []byte) error {
	got, ok := m.at(m.integrity)
	if !ok {
		return ErrMissing
	}
	s := macs.Get().(*mac)
	defer s.release()
	// RFC 8489 §14.5: the length is taken as if the message ended with the attribute.
	want := s.compute(s.sha1, key, m.Raw[:m.integrity], m.integrity-HeaderLen+4+sha1.Size)
	if !hmac.Equal(got, want) {
		return ErrIntegrity
	}
	return nil
}

// CheckIntegritySHA256 does the same for MESSAGE-INTEGRITY-SHA256, which may be cut to not less than minLen bytes:
// 32 allows no truncation, less than 16 is taken as 16 (RFC 8489 §14.6).
func (m Message) CheckIntegritySHA256(key []byte, minLen int) error {
	got, ok := m.at(m.integrity2)
	if !ok {
		return ErrMissing
	}
	if len(got) < max(minLen, 16) || len(got) > sha256.Size || len(got)%4 != 0 {
		return ErrIntegrity
	}
	s := macs.Get().(*mac)
	defer s.release()
	want := s.compute(s.sha256, key, m.Raw[:m.integrity2], m.integrity2-HeaderLen+4+len(got))
	if !hmac.Equal(got, want[:len(got)]) {
		return ErrIntegrity
	}
	return nil
}

// CheckFingerprint returns nil, ErrMissing or ErrFingerprint.
func (m Message) CheckFingerprint() error {
	v, ok := m.at(m.fingerprint)
	if !ok {
		return ErrMissing
	}
	if len(v) != 4 || binary.BigEndian.Uint32(v) != fingerprintOf(m.Raw[:m.fingerprint]) {
		return ErrFingerprint
	}
	return nil
}

// fingerprintOf returns the value for a message of which head is all but FINGERPRINT; its length must count that too.
func fingerprintOf(head []byte) uint32 { return crc32.ChecksumIEEE(head) ^ fingerprintXOR }

// AddIntegrity appends MESSAGE-INTEGRITY.
func (b *Builder) AddIntegrity(key []byte) {
	end := len(b.buf)
	if !b.begin(AttrMessageIntegrity, sha1.Size, stageIntegrity) {
		return
	}
	s := macs.Get().(*mac)
	defer s.release()
	msg := b.buf[b.start:end]
	b.buf = append(b.buf, s.compute(s.sha1, key, msg, end-b.start-HeaderLen+4+sha1.Size)...)
}

// AddIntegritySHA256 appends MESSAGE-INTEGRITY-SHA256, whole.
func (b *Builder) AddIntegritySHA256(key []byte) {
	end := len(b.buf)
	if !b.begin(AttrMessageIntegritySHA256, sha256.Size, stageIntegritySHA256) {
		return
	}
	s := macs.Get().(*mac)
	defer s.release()
	msg := b.buf[b.start:end]
	b.buf = append(b.buf, s.compute(s.sha256, key, msg, end-b.start-HeaderLen+4+sha256.Size)...)
}

// AddFingerprint appends FINGERPRINT, after which nothing can follow.
func (b *Builder) AddFingerprint() {
	end := len(b.buf)
	if b.begin(AttrFingerprint, 4, stageFingerprint) {
		b.buf = binary.BigEndian.AppendUint32(b.buf, fingerprintOf(b.buf[b.start:end]))
	}
}
