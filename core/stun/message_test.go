package stun_test

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"traverse.internal/core/stun"
)

var testID = stun.TransactionID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}

// header is that of a Binding request with testID and n bytes of attributes.
func header(n int) []byte {
	b := stun.New(nil, stun.MethodBinding.Request(), testID)
	h := b.Bytes()
	h[2], h[3] = byte(n>>8), byte(n)
	return h
}

// packet is a Binding request with the given attributes, in hexadecimal.
func packet(t testing.TB, attrs string) []byte {
	t.Helper()
	a := unhex(t, attrs)
	return append(header(len(a)), a...)
}

func TestParse(t *testing.T) {
	whole := packet(t, "8022 0004 61626364")
	edit := func(at int, v byte) []byte {
		b := bytes.Clone(whole)
		b[at] = v
		return b
	}
	tests := []struct {
		name string
		b    []byte
		want error
	}{
		{"whole", whole, nil},
		{"no attributes", header(0), nil},
		{"empty", nil, stun.ErrNotSTUN},
		{"19 bytes", header(0)[:19], stun.ErrNotSTUN},
		{"first bit set", edit(0, 0x80), stun.ErrNotSTUN},
		{"second bit set", edit(0, 0x40), stun.ErrNotSTUN},
		{"wrong cookie", edit(7, 0x43), stun.ErrNotSTUN},
		{"length too small", edit(3, 4), stun.ErrLength},
		{"length too large", edit(3, 12), stun.ErrLength},
		{"length no multiple of four", append(edit(3, 9), 0), stun.ErrLength},
		{"trailing byte", append(bytes.Clone(whole), 0), stun.ErrLength},
		{"value one byte too long", packet(t, "8022 0005 61626364"), stun.ErrOverrun},
		{"value of 65535 bytes in a short message", packet(t, "8022 ffff 61626364"), stun.ErrOverrun},
		{"value ends in the padding of nothing", packet(t, "8022 0000 8022 0001"), stun.ErrOverrun},
		{"any bytes as padding", packet(t, "8022 0001 61ffeedd"), nil},
		{"fingerprint last", packet(t, "8022 0000 8028 0004 00000000"), nil},
		{"fingerprint before another", packet(t, "8028 0004 00000000 8022 0000"), stun.ErrFingerprintPlace},
		{"fingerprint twice", packet(t, "8028 0004 00000000 8028 0004 00000000"), stun.ErrFingerprintPlace},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := stun.Parse(tt.b)
			if err != tt.want {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err == nil && (m.Type() != stun.MethodBinding.Request() || m.TransactionID() != testID) {
				t.Errorf("got %v %v", m.Type(), m.TransactionID())
			}
		})
	}
}

// Which attributes are seen, in the form of their types. 0008 is MESSAGE-INTEGRITY, 001c its SHA-256 sibling.
func TestAttributesBehindIntegrity(t *testing.T) {
	const (
		mi1  = "0008 0014 0000000000000000000000000000000000000000"
		mi2  = "001c 0010 00000000000000000000000000000000"
		fp   = "8028 0004 00000000"
		life = "000d 0004 00000258"
		zero = "000d 0004 00000000" // what an attacker appends
		odd  = "7fff 0000"          // unknown and required
	)
	tests := []struct {
		name, attrs string
		want        []stun.AttrType
		unknown     int
	}{
		{"no integrity", life + odd, []stun.AttrType{0x0d, 0x7fff}, 1},
		{"in the right order", life + mi1 + mi2 + fp, []stun.AttrType{0x0d, 0x08, 0x1c, 0x8028}, 0},
		{"a lifetime behind MESSAGE-INTEGRITY", mi1 + life, []stun.AttrType{0x08}, 0},
		{"a second lifetime behind it", life + mi1 + zero, []stun.AttrType{0x0d, 0x08}, 0},
		{"an unknown attribute behind it", mi1 + odd, []stun.AttrType{0x08}, 0},
		{"SHA-256 behind what is ignored", mi1 + zero + mi2 + zero + fp, []stun.AttrType{0x08, 0x1c, 0x8028}, 0},
		{"only SHA-256", life + mi2 + zero, []stun.AttrType{0x0d, 0x1c}, 0},
		{"MESSAGE-INTEGRITY behind SHA-256", mi2 + mi1, []stun.AttrType{0x1c}, 0},
		{"MESSAGE-INTEGRITY twice", life + mi1 + mi1 + fp, []stun.AttrType{0x0d, 0x08, 0x8028}, 0},
		{"SHA-256 twice", mi1 + mi2 + mi2, []stun.AttrType{0x08, 0x1c}, 0},
		{"fingerprint only", life + fp, []stun.AttrType{0x0d, 0x8028}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := stun.Parse(packet(t, tt.attrs))
			if err != nil {
				t.Fatal(err)
			}
			var got []stun.AttrType
			for a, v := range m.All() {
				got = append(got, a)
				if w, ok := m.Attr(a); !ok || !bytes.Equal(v, w) {
					t.Errorf("All has %v = %x, Attr has %x, %v", a, v, w, ok)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if m.Has(stun.AttrLifetime) != slices.Contains(tt.want, stun.AttrLifetime) {
				t.Errorf("Has(LIFETIME) = %v", m.Has(stun.AttrLifetime))
			}
			if v, err := m.Uint32(stun.AttrLifetime); err == nil && v != 600 {
				t.Errorf("lifetime = %d, want 600", v)
			}
			if got := m.AppendUnknown(nil, nil); len(got) != tt.unknown {
				t.Errorf("unknown = %v, want %d", got, tt.unknown)
			}
		})
	}
}

func TestFirstDuplicateWins(t *testing.T) {
	m, err := stun.Parse(packet(t, "000d0004 00000001 000d0004 00000002 00060001 61000000 00060001 62000000"))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := m.Uint32(stun.AttrLifetime); v != 1 || err != nil {
		t.Errorf("lifetime = %d, %v, want 1", v, err)
	}
	if v, err := m.Text(stun.AttrUsername); string(v) != "a" || err != nil {
		t.Errorf("username = %q, %v, want a", v, err)
	}
}

func TestAppendUnknown(t *testing.T) {
	many := ""
	for range 3 {
		many += "7f00 0000 7f01 0000 7f02 0000 7f03 0000 7f04 0000 7f05 0000 7f06 0000 7f07 0000 7f08 0000"
		many += "7f09 0000 7f0a 0000 7f0b 0000 7f0c 0000 7f0d 0000 7f0e 0000 7f0f 0000 7f10 0000 7f11 0000"
	}
	tests := []struct {
		name, attrs string
		known       func(stun.AttrType) bool
		want        []stun.AttrType
	}{
		{"none", "8022 0000 000d 0000", nil, nil},
		{"each once", "7fff 0000 7ffe 0000 7fff 0000", nil, []stun.AttrType{0x7fff, 0x7ffe}},
		{"optional ones are ignored", "8fff 0000 ffff 0000 7fff 0000", nil, []stun.AttrType{0x7fff}},
		{"CHANGE-REQUEST has a name, no meaning", "0003 0004 00000000", nil, []stun.AttrType{0x0003}},
		{
			"a server that cannot set DF", "001a 0000 000d 0000",
			func(t stun.AttrType) bool { return t != stun.AttrDontFragment && stun.Known(t) },
			[]stun.AttrType{stun.AttrDontFragment},
		},
		{"bounded", many, nil, []stun.AttrType{
			0x7f00, 0x7f01, 0x7f02, 0x7f03, 0x7f04, 0x7f05, 0x7f06, 0x7f07,
			0x7f08, 0x7f09, 0x7f0a, 0x7f0b, 0x7f0c, 0x7f0d, 0x7f0e, 0x7f0f,
		}},
	}
	for _, tt := range tests {
		m, err := stun.Parse(packet(t, tt.attrs))
		if err != nil {
			t.Fatal(err)
		}
		prefix := []stun.AttrType{0x7fff} // what is there already is neither counted nor looked at
		if got := m.AppendUnknown(prefix, tt.known)[1:]; !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestTypeBits(t *testing.T) {
	tests := []struct {
		typ  stun.Type
		wire string
		text string
	}{
		{stun.MethodBinding.Request(), "0001", "Binding request"},
		{stun.MethodBinding.Success(), "0101", "Binding success"},
		{stun.MethodBinding.Error(), "0111", "Binding error"},
		{stun.MethodSend.Indication(), "0016", "Send indication"},
		{stun.MethodConnectionBind.Success(), "010b", "ConnectionBind success"},
		{stun.MethodConnectionAttempt.Indication(), "001c", "ConnectionAttempt indication"},
		{stun.Type{Method: 0xfff, Class: stun.ClassError}, "3fff", "method 0xfff error"},
		{stun.Type{Method: 0x070, Class: stun.ClassRequest}, "00e0", "method 0x070 request"},
	}
	for _, tt := range tests {
		b := stun.New(nil, tt.typ, testID)
		if got := b.Bytes()[:2]; !bytes.Equal(got, unhex(t, tt.wire)) {
			t.Errorf("%v: bytes %x, want %s", tt.typ, got, tt.wire)
		}
		m, err := stun.Parse(b.Bytes())
		if err != nil || m.Type() != tt.typ || m.Type().String() != tt.text {
			t.Errorf("%v: parsed as %v, %v, want %s", tt.typ, m.Type(), err, tt.text)
		}
	}
}

func TestXORAddr(t *testing.T) {
	const attr = stun.AttrXORPeerAddress
	tests := []struct {
		name, value string
		want        string
		err         error
	}{
		{"IPv4", "0001a147e112a643", "192.0.2.1:32853", nil},
		{"IPv4, reserved byte set", "ff01a147e112a643", "192.0.2.1:32853", nil},
		{"IPv6 in disguise stays as it is", "0002 2112 2112a442 01020304 0506f8f7 030a0b0d", "[::ffff:10.0.0.1]:0", nil},
		{"no value", "", "", stun.ErrMalformed},
		{"three bytes", "0001a1", "", stun.ErrMalformed},
		{"IPv4 too short", "0001a147e112a6", "", stun.ErrMalformed},
		{"IPv4 too long", "0001a147e112a64300000000", "", stun.ErrMalformed},
		{"IPv6 of four bytes", "0002a147e112a643", "", stun.ErrMalformed},
		{"family 0", "0000a147e112a643", "", stun.ErrMalformed},
		{"family 3", "0003a147e112a643", "", stun.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := stun.New(nil, stun.MethodSend.Indication(), testID)
			b.Add(attr, unhex(t, tt.value))
			m, err := stun.Parse(b.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.XORAddr(attr)
			if err != tt.err || err == nil && got != netip.MustParseAddrPort(tt.want) {
				t.Errorf("got %v, %v, want %s, %v", got, err, tt.want, tt.err)
			}
			all, err := m.AppendXORAddrs(nil, attr)
			if err != tt.err || err == nil && (len(all) != 1 || all[0] != got) {
				t.Errorf("all: got %v, %v", all, err)
			}
		})
	}
}

func TestAppendXORAddrs(t *testing.T) {
	peers := []netip.AddrPort{
		netip.MustParseAddrPort("192.0.2.1:1"),
		netip.MustParseAddrPort("[2001:db8::1]:65535"),
		netip.MustParseAddrPort("192.0.2.1:1"),
	}
	b := stun.New(nil, stun.MethodCreatePermission.Request(), testID)
	for _, p := range peers {
		b.AddXORAddr(stun.AttrXORPeerAddress, p)
	}
	m, err := stun.Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.AppendXORAddrs(nil, stun.AttrXORPeerAddress); !slices.Equal(got, peers) || err != nil {
		t.Errorf("got %v, %v, want %v", got, err, peers)
	}
	b.Add(stun.AttrXORPeerAddress, []byte{0, 1, 2})
	if m, err = stun.Parse(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	if got, err := m.AppendXORAddrs(nil, stun.AttrXORPeerAddress); err != stun.ErrMalformed {
		t.Errorf("with a malformed one: got %v, %v, want %v", got, err, stun.ErrMalformed)
	}
}
