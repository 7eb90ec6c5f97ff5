package stun

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

// The packet of RFC 8489 §B.1 says 0x9c bytes where 0x88 follow, and its HMAC was computed over that length. So it serves
// as a vector for the key, the hash of the user name and the HMAC, and as a message that must be refused.
func TestRFC8489B1(t *testing.T) {
	const user, realm, password = "\u30de\u30c8\u30ea\u30c3\u30af\u30b9", "example.org", "TheMatrIX"
	packet, err := hex.DecodeString(strings.Join(strings.Fields(`0001009c 2112a442 78ad3433c6ad72c029da412e
		001e0020 4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704
		00150029 6f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c3946535476793634734 1000000
		0014000b 6578616d706c652e6f726700
		001c0020 e4686c8f0edeb59013e07090010a93efccbccc544c0a45d9f830aa6d6f735a01`), ""))
	if err != nil {
		t.Fatal(err)
	}
	if hash := Userhash(user, realm); !bytes.Equal(hash[:], packet[24:56]) {
		t.Errorf("userhash = %x, want %x", hash, packet[24:56])
	}
	s, key := macs.Get().(*mac), KeySHA256(user, realm, password)
	sealed, want := packet[:len(packet)-4-sha256.Size], packet[len(packet)-sha256.Size:]
	if got := s.compute(s.sha256, key, sealed, 0x9c); !bytes.Equal(got, want) {
		t.Errorf("hmac = %x, want %x", got, want)
	}
	if _, err := Parse(packet); err != ErrLength {
		t.Errorf("as printed: %v, want %v", err, ErrLength)
	}
	packet[3] = 0x88
	m, err := Parse(packet)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.CheckIntegritySHA256(key, sha256.Size); err != ErrIntegrity {
		t.Errorf("with the right length: %v, want %v", err, ErrIntegrity)
	}
}

// The HMAC of our own agrees with the standard library's for keys below, at and above the size of a block.
func TestMACAgreesWithStandardLibrary(t *testing.T) {
	msg := make([]byte, 100)
	for i := range msg {
		msg[i] = byte(i)
	}
	s := macs.Get().(*mac)
	for _, n := range []int{0, 1, 16, 63, 64, 65, 200} {
		key := bytes.Repeat([]byte{'k'}, n)
		adjusted := bytes.Clone(msg)
		adjusted[2], adjusted[3] = 0x12, 0x34
		want1, want2 := hmac.New(sha1.New, key), hmac.New(sha256.New, key)
		want1.Write(adjusted)
		want2.Write(adjusted)
		if got, want := s.compute(s.sha1, key, msg, 0x1234), want1.Sum(nil); !bytes.Equal(got, want) {
			t.Errorf("key of %d bytes: sha1 %x, want %x", n, got, want)
		}
		if got, want := s.compute(s.sha256, key, msg, 0x1234), want2.Sum(nil); !bytes.Equal(got, want) {
			t.Errorf("key of %d bytes: sha256 %x, want %x", n, got, want)
		}
	}
}
