package stun_test

import (
	"bytes"
	"testing"

	"traverse.internal/core/stun"
)

func TestIntegrityCoversEveryByteBeforeIt(t *testing.T) {
	key := []byte("key")
	b := stun.New(nil, stun.MethodRefresh.Request(), testID)
	b.AddUint32(stun.AttrLifetime, 600)
	b.AddIntegrity(key)
	b.AddIntegritySHA256(key)
	b.AddFingerprint()
	whole := b.Bytes()
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= 1
		m, err := stun.Parse(changed)
		if err != nil {
			continue
		}
		if m.CheckFingerprint() == nil {
			t.Errorf("byte %d changed: the fingerprint did not notice", i)
		}
		// The length is replaced before hashing, but Parse compares it with the bytes.
		if i < 20+8+24 && m.CheckIntegrity(key) == nil {
			t.Errorf("byte %d changed: MESSAGE-INTEGRITY did not notice", i)
		}
		if i < 20+8+24+36 && m.CheckIntegritySHA256(key, 32) == nil {
			t.Errorf("byte %d changed: MESSAGE-INTEGRITY-SHA256 did not notice", i)
		}
	}
}

func TestIntegritySHA256Truncation(t *testing.T) {
	key := []byte("key")
	tests := []struct {
		name   string
		n, min int
		want   error
	}{
		{"whole, none allowed", 32, 32, nil},
		{"whole, 16 allowed", 32, 16, nil},
		{"28, none allowed", 28, 32, stun.ErrIntegrity},
		{"16, 16 allowed", 16, 16, nil},
		{"16, 20 allowed", 16, 20, stun.ErrIntegrity},
		{"12 is never allowed", 12, 0, stun.ErrIntegrity},
		{"no bytes at all", 0, 0, stun.ErrIntegrity},
		{"no multiple of four", 18, 16, stun.ErrIntegrity},
		{"longer than the hash", 36, 16, stun.ErrIntegrity},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// The HMAC covers the length with the attribute cut, so it is computed over a message of that length.
			b := stun.New(nil, stun.MethodBinding.Request(), testID)
			b.AddText(stun.AttrUsername, "user")
			covered := bytes.Clone(b.Bytes())
			b.AddHeader(stun.AttrMessageIntegritySHA256, tt.n)
			padded := (tt.n + 3) &^ 3
			covered[3] = byte(len(covered) - stun.HeaderLen + 4 + tt.n)
			sum := append(hmacSHA256(key, covered), make([]byte, 8)...)
			m, err := stun.Parse(append(b.Bytes(), sum[:padded]...))
			if err != nil {
				t.Fatal(err)
			}
			if err := m.CheckIntegritySHA256(key, tt.min); err != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestIntegrityOfWrongLength(t *testing.T) {
	for _, n := range []int{0, 4, 16, 19, 21, 24} {
		b := stun.New(nil, stun.MethodBinding.Request(), testID)
		b.Add(stun.AttrMessageIntegrity, make([]byte, n))
		m, err := stun.Parse(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.CheckIntegrity([]byte("key")); err != stun.ErrIntegrity {
			t.Errorf("%d bytes: got %v, want %v", n, err, stun.ErrIntegrity)
		}
	}
	m, err := stun.Parse(header(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.CheckIntegrity(nil); err != stun.ErrMissing {
		t.Errorf("none: got %v, want %v", err, stun.ErrMissing)
	}
	if err := m.CheckIntegritySHA256(nil, 0); err != stun.ErrMissing {
		t.Errorf("none: got %v, want %v", err, stun.ErrMissing)
	}
	if m, err = stun.Parse(packet(t, "8028 0000")); err != nil {
		t.Fatal(err)
	}
	if err := m.CheckFingerprint(); err != stun.ErrFingerprint {
		t.Errorf("empty fingerprint: got %v, want %v", err, stun.ErrFingerprint)
	}
}
