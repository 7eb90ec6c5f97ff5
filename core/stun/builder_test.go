package stun_test

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"traverse.internal/core/stun"
)

// What each adder writes, as bytes, and what the accessor makes of it.
func TestAttributeValues(t *testing.T) {
	tests := []struct {
		name string
		add  func(*stun.Builder)
		wire string
		get  func(stun.Message) (any, error)
		want any
	}{
		{
			"LIFETIME", func(b *stun.Builder) { b.AddUint32(stun.AttrLifetime, 600) }, "000d0004 00000258",
			func(m stun.Message) (any, error) { return m.Uint32(stun.AttrLifetime) }, uint32(600),
		},
		{
			"ICE-CONTROLLING", func(b *stun.Builder) { b.AddUint64(stun.AttrICEControlling, 1<<63|1) },
			"802a0008 8000000000000001",
			func(m stun.Message) (any, error) { return m.Uint64(stun.AttrICEControlling) }, uint64(1<<63 | 1),
		},
		{
			"CHANNEL-NUMBER", func(b *stun.Builder) { b.AddChannelNumber(0x4001) }, "000c0004 40010000",
			func(m stun.Message) (any, error) { return m.ChannelNumber() }, uint16(0x4001),
		},
		{
			"REQUESTED-TRANSPORT", func(b *stun.Builder) { b.AddRequestedTransport(stun.TransportUDP) },
			"00190004 11000000",
			func(m stun.Message) (any, error) { return m.RequestedTransport() }, stun.TransportUDP,
		},
		{
			"REQUESTED-ADDRESS-FAMILY",
			func(b *stun.Builder) { b.AddFamily(stun.AttrRequestedAddressFamily, stun.FamilyIPv6) }, "00170004 02000000",
			func(m stun.Message) (any, error) { return m.Family(stun.AttrRequestedAddressFamily) }, stun.FamilyIPv6,
		},
		{
			"a family nobody knows",
			func(b *stun.Builder) { b.AddFamily(stun.AttrAdditionalAddressFamily, 3) }, "80000004 03000000",
			func(m stun.Message) (any, error) { return m.Family(stun.AttrAdditionalAddressFamily) }, stun.Family(3),
		},
		{
			"EVEN-PORT", func(b *stun.Builder) { b.AddEvenPort() }, "00180001 00000000",
			func(m stun.Message) (any, error) { return m.EvenPort() }, false,
		},
		{
			"EVEN-PORT with R", func(b *stun.Builder) { b.AddEvenPortReserve() }, "00180001 80000000",
			func(m stun.Message) (any, error) { return m.EvenPort() }, true,
		},
		{
			"EVEN-PORT that counts its padding",
			func(b *stun.Builder) { b.Add(stun.AttrEvenPort, []byte{0x80, 0, 0, 0}) }, "00180004 80000000",
			func(m stun.Message) (any, error) { return m.EvenPort() }, true,
		},
		{
			"RESERVATION-TOKEN", func(b *stun.Builder) { b.AddText(stun.AttrReservationToken, "12345678") },
			"00220008 3132333435363738",
			func(m stun.Message) (any, error) { return m.ReservationToken() }, [8]byte([]byte("12345678")),
		},
		{
			"ERROR-CODE", func(b *stun.Builder) { b.AddError(stun.CodeStaleNonce, "old") }, "00090007 00000426 6f6c6400",
			func(m stun.Message) (any, error) {
				c, p, err := m.ErrorCode()
				return c.String() + "/" + string(p), err
			},
			"438 Stale Nonce/old",
		},
		{
			"ADDRESS-ERROR-CODE",
			func(b *stun.Builder) { b.AddAddressError(stun.FamilyIPv6, stun.CodeInsufficientCapacity) },
			"80010019 02000508 496e73756666696369656e74 20436170616369747 9000000",
			func(m stun.Message) (any, error) {
				f, c, err := m.AddressError()
				return f.String() + " " + c.String(), err
			},
			"IPv6 508 Insufficient Capacity",
		},
		{
			"UNKNOWN-ATTRIBUTES",
			func(b *stun.Builder) { b.AddUnknownAttributes([]stun.AttrType{0x7fff, 0x001a, 0x0003}) },
			"000a0006 7fff001a 00030000",
			func(m stun.Message) (any, error) {
				l, err := m.AppendUnknownAttributes(nil)
				return len(l) == 3 && l[1] == stun.AttrDontFragment, err
			}, true,
		},
		{
			"ICMP", func(b *stun.Builder) { b.AddICMP(3, 4, 1400) }, "80040008 00000304 00000578",
			func(m stun.Message) (any, error) {
				typ, code, d, err := m.ICMP()
				return [3]int{int(typ), int(code), int(d)}, err
			},
			[3]int{3, 4, 1400},
		},
		{
			"PASSWORD-ALGORITHMS",
			func(b *stun.Builder) { b.AddPasswordAlgorithms(stun.PasswordSHA256, stun.PasswordMD5) },
			"80020008 00020000 00010000",
			func(m stun.Message) (any, error) {
				v, _ := m.Attr(stun.AttrPasswordAlgorithms)
				first, _, rest, err := stun.NextPasswordAlgorithm(v)
				if err != nil {
					return nil, err
				}
				second, _, rest, err := stun.NextPasswordAlgorithm(rest)
				return first == stun.PasswordSHA256 && second == stun.PasswordMD5 && len(rest) == 0, err
			}, true,
		},
		{
			"PASSWORD-ALGORITHM", func(b *stun.Builder) { b.AddPasswordAlgorithm(stun.PasswordMD5) }, "001d0004 00010000",
			func(m stun.Message) (any, error) {
				v, _ := m.Attr(stun.AttrPasswordAlgorithm)
				a, _, _, err := stun.NextPasswordAlgorithm(v)
				return a, err
			}, stun.PasswordMD5,
		},
		{
			"ALTERNATE-SERVER",
			func(b *stun.Builder) { b.AddAddr(stun.AttrAlternateServer, netip.MustParseAddrPort("192.0.2.1:3478")) },
			"80230008 00010d96 c0000201",
			func(m stun.Message) (any, error) { return m.Addr(stun.AttrAlternateServer) }, netip.MustParseAddrPort("192.0.2.1:3478"),
		},
		{
			"an IPv4 address in IPv6 clothes",
			func(b *stun.Builder) {
				b.AddXORAddr(stun.AttrXORMappedAddress, netip.MustParseAddrPort("[::ffff:192.0.2.1]:32853"))
			}, "00200008 0001a147 e112a643",
			func(m stun.Message) (any, error) { return m.XORAddr(stun.AttrXORMappedAddress) },
			netip.MustParseAddrPort("192.0.2.1:32853"),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := stun.New(nil, stun.MethodBinding.Request(), testID)
			tt.add(&b)
			if got, want := b.Bytes(), packet(t, tt.wire); !bytes.Equal(got, want) {
				t.Errorf("wrote %x, want %x", got, want)
			}
			m, err := stun.Parse(b.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := tt.get(m); got != tt.want || err != nil {
				t.Errorf("read %v, %v, want %v", got, err, tt.want)
			}
			empty, err := stun.Parse(header(0))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := tt.get(empty); err != stun.ErrMissing && err != stun.ErrMalformed {
				t.Errorf("read from a message without it: %v, %v", got, err)
			}
		})
	}
}

func TestMalformedValues(t *testing.T) {
	tests := []struct {
		name, attrs string
		get         func(stun.Message) error
	}{
		{"LIFETIME of three bytes", "000d0003 00000000", func(m stun.Message) error { _, err := m.Uint32(stun.AttrLifetime); return err }},
		{"LIFETIME of eight", "000d0008 0000000000000000", func(m stun.Message) error { _, err := m.Uint32(stun.AttrLifetime); return err }},
		{"REQUESTED-TRANSPORT of one byte", "00190001 11000000", func(m stun.Message) error { _, err := m.RequestedTransport(); return err }},
		{"CHANNEL-NUMBER of two", "000c0002 40000000", func(m stun.Message) error { _, err := m.ChannelNumber(); return err }},
		{"empty EVEN-PORT", "00180000", func(m stun.Message) error { _, err := m.EvenPort(); return err }},
		{"RESERVATION-TOKEN of four bytes", "00220004 00000000", func(m stun.Message) error { _, err := m.ReservationToken(); return err }},
		{"error 299", "00090004 00000263", func(m stun.Message) error { _, _, err := m.ErrorCode(); return err }},
		{"error 700", "00090004 00000700", func(m stun.Message) error { _, _, err := m.ErrorCode(); return err }},
		{"error number 100", "00090004 00000464", func(m stun.Message) error { _, _, err := m.ErrorCode(); return err }},
		{"error of three bytes", "00090003 00000400", func(m stun.Message) error { _, _, err := m.ErrorCode(); return err }},
		{"odd UNKNOWN-ATTRIBUTES", "000a0003 00010200", func(m stun.Message) error { _, err := m.AppendUnknownAttributes(nil); return err }},
		{"ICMP of four bytes", "80040004 00000000", func(m stun.Message) error { _, _, _, err := m.ICMP(); return err }},
		{"algorithm without length", "001d0002 00010000", func(m stun.Message) error {
			v, _ := m.Attr(stun.AttrPasswordAlgorithm)
			_, _, _, err := stun.NextPasswordAlgorithm(v)
			return err
		}},
		{"algorithm with missing parameters", "001d0004 00010004", func(m stun.Message) error {
			v, _ := m.Attr(stun.AttrPasswordAlgorithm)
			_, _, _, err := stun.NextPasswordAlgorithm(v)
			return err
		}},
	}
	for _, tt := range tests {
		m, err := stun.Parse(packet(t, tt.attrs))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if err := tt.get(m); err != stun.ErrMalformed {
			t.Errorf("%s: got %v, want %v", tt.name, err, stun.ErrMalformed)
		}
	}
}

func TestTextLimits(t *testing.T) {
	tests := []struct {
		attr stun.AttrType
		max  int
	}{
		{stun.AttrUsername, 508},
		{stun.AttrRealm, 763},
		{stun.AttrNonce, 763},
		{stun.AttrSoftware, 763},
		{stun.AttrAlternateDomain, 255},
	}
	for _, tt := range tests {
		for n, want := range map[int]error{0: nil, tt.max: nil, tt.max + 1: stun.ErrMalformed} {
			b := stun.New(nil, stun.MethodBinding.Request(), testID)
			b.Add(tt.attr, make([]byte, n))
			m, err := stun.Parse(b.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if v, err := m.Text(tt.attr); err != want || err == nil && len(v) != n {
				t.Errorf("%v of %d bytes: got %d, %v, want %v", tt.attr, n, len(v), err, want)
			}
		}
	}
}

func TestBuilderLimits(t *testing.T) {
	b := stun.New(nil, stun.MethodData.Indication(), testID)
	b.AddXORAddr(stun.AttrXORPeerAddress, netip.MustParseAddrPort("192.0.2.1:1"))
	b.Add(stun.AttrData, make([]byte, 65507)) // the largest UDP payload over IPv4
	if err := b.Err(); err != nil {
		t.Errorf("largest datagram: %v", err)
	}
	before := len(b.Bytes())
	b.Add(stun.AttrSoftware, make([]byte, 16))
	if err := b.Err(); !errors.Is(err, stun.ErrTooLong) {
		t.Errorf("one attribute more: %v, want %v", err, stun.ErrTooLong)
	}
	if _, err := stun.Parse(b.Bytes()); err != nil || len(b.Bytes()) != before {
		t.Errorf("what fitted is not whole: %v, %d bytes, want %d", err, len(b.Bytes()), before)
	}
	b = stun.New(nil, stun.MethodData.Indication(), testID)
	if b.Add(stun.AttrData, make([]byte, 65536)); b.Err() == nil {
		t.Error("a value of 65536 bytes was taken")
	}
}

// A header for a value that stays elsewhere gives the same bytes as adding the value.
func TestAddHeader(t *testing.T) {
	for n := range 9 {
		data := bytes.Repeat([]byte{0xaa}, n)
		whole := stun.New(nil, stun.MethodData.Indication(), testID)
		whole.AddUint32(stun.AttrConnectionID, 1)
		whole.Add(stun.AttrData, data)

		head := stun.New(nil, stun.MethodData.Indication(), testID)
		head.AddUint32(stun.AttrConnectionID, 1)
		padding := head.AddHeader(stun.AttrData, n)
		got := slices.Concat(head.Bytes(), data, make([]byte, padding))
		if !bytes.Equal(got, whole.Bytes()) {
			t.Errorf("%d bytes: got %x, want %x", n, got, whole.Bytes())
		}
	}
}

func TestBuilderAppends(t *testing.T) {
	buf := append(make([]byte, 0, 256), "before"...)
	b := stun.New(buf, stun.MethodBinding.Request(), testID)
	b.AddText(stun.AttrUsername, "u")
	b.AddIntegrity([]byte("key"))
	b.AddFingerprint()
	got := b.Bytes()
	if !bytes.HasPrefix(got, []byte("before")) || &got[0] != &buf[0] {
		t.Fatalf("did not append in place: %x", got)
	}
	m, err := stun.Parse(got[len("before"):])
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.CheckIntegrity([]byte("key")), m.CheckFingerprint()); err != nil {
		t.Error(err)
	}
	r := stun.Respond(nil, m, stun.ClassError)
	r.AddErrorCode(stun.CodeBadRequest)
	a, err := stun.Parse(r.Bytes())
	if err != nil || a.Type() != stun.MethodBinding.Error() || a.TransactionID() != testID {
		t.Errorf("response is %v %v, %v", a.Type(), a.TransactionID(), err)
	}
}

func TestBuilderRefusesWhatWouldBeIgnored(t *testing.T) {
	key := []byte("key")
	tests := map[string]func(*stun.Builder){
		"attribute behind integrity":            func(b *stun.Builder) { b.AddIntegrity(key); b.AddUint32(stun.AttrLifetime, 1) },
		"attribute behind SHA-256":              func(b *stun.Builder) { b.AddIntegritySHA256(key); b.AddUint32(stun.AttrLifetime, 1) },
		"integrity behind SHA-256":              func(b *stun.Builder) { b.AddIntegritySHA256(key); b.AddIntegrity(key) },
		"integrity twice":                       func(b *stun.Builder) { b.AddIntegrity(key); b.AddIntegrity(key) },
		"fingerprint twice":                     func(b *stun.Builder) { b.AddFingerprint(); b.AddFingerprint() },
		"integrity behind fingerprint":          func(b *stun.Builder) { b.AddFingerprint(); b.AddIntegrity(key) },
		"anything behind a value not there yet": func(b *stun.Builder) { b.AddHeader(stun.AttrData, 4); b.AddFingerprint() },
	}
	for name, add := range tests {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			b := stun.New(nil, stun.MethodBinding.Request(), testID)
			add(&b)
		})
	}
}
