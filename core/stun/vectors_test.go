package stun_test

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"traverse.internal/core/stun"
)

// unhex decodes hexadecimal with any white space in it.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 5769 §2. The short-term password of the first three is shortTermPassword.
const (
	shortTermPassword = "VOkJxbRl1RmTxUk/WvJxBt"

	sampleRequest = `00010058 2112a442 b7e7a701bc34d686fa87dfae
		80220010 5354554e207465737420636c69656e74
		00240004 6e0001ff
		80290008 932ff9b151263b36
		00060009 6576746a3a68367659202020
		00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2
		80280004 e57a3bcf`
	sampleResponse4 = `0101003c 2112a442 b7e7a701bc34d686fa87dfae
		8022000b 7465737420766563746f7220
		00200008 0001a147e112a643
		00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7
		80280004 c07d4c96`
	sampleResponse6 = `01010048 2112a442 b7e7a701bc34d686fa87dfae
		8022000b 7465737420766563746f7220
		00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9
		00080014 a382954e4be67bf11784c97c8292c275bfe3ed41
		80280004 c8fb0b4c`
	sampleLongTerm = `00010060 2112a442 78ad3433c6ad72c029da412e
		00060012 e3839ee38388e383aae38383e382afe382b90000
		0015001c 662f2f3439396b39353464364f4c33346f4c394653547679363473 41
		0014000b 6578616d706c652e6f726700
		00080014 f67024656dd64a3e02b8e0712e85c9a28ca89666`
)

func TestRFC5769(t *testing.T) {
	const user, realm = "\u30de\u30c8\u30ea\u30c3\u30af\u30b9", "example.org"
	tests := []struct {
		name, packet, key string
		typ               stun.Type
		text              map[stun.AttrType]string
		mapped            string
		fingerprint       error
	}{
		{
			name: "request", packet: sampleRequest, key: shortTermPassword, typ: stun.MethodBinding.Request(),
			text: map[stun.AttrType]string{stun.AttrSoftware: "STUN test client", stun.AttrUsername: "evtj:h6vY"},
		},
		{
			name: "IPv4 response", packet: sampleResponse4, key: shortTermPassword, typ: stun.MethodBinding.Success(),
			text: map[stun.AttrType]string{stun.AttrSoftware: "test vector"}, mapped: "192.0.2.1:32853",
		},
		{
			name: "IPv6 response", packet: sampleResponse6, key: shortTermPassword, typ: stun.MethodBinding.Success(),
			text:   map[stun.AttrType]string{stun.AttrSoftware: "test vector"},
			mapped: "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
		},
		{
			name: "request with long-term authentication", packet: sampleLongTerm, typ: stun.MethodBinding.Request(),
			key: string(stun.LongTermKey(user, realm, "TheMatrIX")),
			text: map[stun.AttrType]string{
				stun.AttrUsername: user, stun.AttrRealm: realm, stun.AttrNonce: "f//499k954d6OL34oL9FSTvy64sA",
			},
			fingerprint: stun.ErrMissing,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := stun.Parse(unhex(t, tt.packet))
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Type(); got != tt.typ {
				t.Errorf("type = %v, want %v", got, tt.typ)
			}
			for a, want := range tt.text {
				if got, err := m.Text(a); string(got) != want || err != nil {
					t.Errorf("%v = %q, %v, want %q", a, got, err, want)
				}
			}
			if tt.mapped != "" {
				want := netip.MustParseAddrPort(tt.mapped)
				if got, err := m.XORAddr(stun.AttrXORMappedAddress); got != want || err != nil {
					t.Errorf("mapped address = %v, %v, want %v", got, err, want)
				}
			}
			if err := m.CheckIntegrity([]byte(tt.key)); err != nil {
				t.Errorf("integrity: %v", err)
			}
			if err := m.CheckIntegrity([]byte("not the key")); err != stun.ErrIntegrity {
				t.Errorf("integrity with a wrong key: %v, want %v", err, stun.ErrIntegrity)
			}
			if err := m.CheckFingerprint(); err != tt.fingerprint {
				t.Errorf("fingerprint: %v, want %v", err, tt.fingerprint)
			}
		})
	}
}

// The request of RFC 5769 §2.1 pads with spaces, so only one without such padding can be rebuilt to the byte.
func TestRFC5769Rebuilt(t *testing.T) {
	want := unhex(t, sampleLongTerm)
	m, err := stun.Parse(want)
	if err != nil {
		t.Fatal(err)
	}
	b := stun.New(nil, m.Type(), m.TransactionID())
	b.AddText(stun.AttrUsername, "\u30de\u30c8\u30ea\u30c3\u30af\u30b9")
	b.AddText(stun.AttrNonce, "f//499k954d6OL34oL9FSTvy64sA")
	b.AddText(stun.AttrRealm, "example.org")
	b.AddIntegrity(stun.LongTermKey("\u30de\u30c8\u30ea\u30c3\u30af\u30b9", "example.org", "TheMatrIX"))
	if got := b.Bytes(); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func TestKeys(t *testing.T) {
	const md5 = "8493fbc53ba582fb4c044c456bdc40eb" // RFC 8489 §9.2.2
	tests := []struct{ user, realm, password string }{
		{"user", "realm", "pass"},
		{"\"user\"", "\"realm\"", "pass"},
		{"user\x00", "realm\x00\x00", "pass\x00"},
	}
	for _, tt := range tests {
		if got := hex.EncodeToString(stun.LongTermKey(tt.user, tt.realm, tt.password)); got != md5 {
			t.Errorf("LongTermKey(%q, %q, %q) = %s, want %s", tt.user, tt.realm, tt.password, got, md5)
		}
	}
	if a, b := stun.LongTermKey("user", "realm", "\"pass\""), stun.LongTermKey("user", "realm", "pass"); bytes.Equal(a, b) {
		t.Error("quotes are part of a password")
	}
}
