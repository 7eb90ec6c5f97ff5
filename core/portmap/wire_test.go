package portmap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"
	"time"
)

var (
	ours    = netip.MustParseAddrPort("192.168.1.5:4242")
	outside = netip.MustParseAddrPort("203.0.113.7:5353")
	number  = nonce{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
)

// pcpAnswer is a router's yes to the request.
func pcpAnswer(request []byte, outside netip.AddrPort, lifetime byte) []byte {
	b := bytes.Clone(request)
	b[1] |= 0x80
	copy(b[4:24], make([]byte, 20))
	b[6], b[7] = lifetime, 0 // 256 s each
	b[42], b[43] = byte(outside.Port()>>8), byte(outside.Port())
	at := outside.Addr().As16()
	copy(b[44:], at[:])
	return b
}

// TestBytes: requests as the RFCs draw them.
func TestBytes(t *testing.T) {
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"PCP MAP": {
			appendPCP(nil, number, TCP, ours, netip.AddrPortFrom(netip.Addr{}, 4242), 2*time.Hour),
			"02010000" + "00001c20" + "00000000000000000000ffffc0a80105" + "0102030405060708090a0b0c" + "06000000" + "1092" + "1092" + "00000000000000000000ffff00000000",
		},
		"PCP delete": {
			appendPCP(nil, number, UDP, ours, outside, 0),
			"02010000" + "00000000" + "00000000000000000000ffffc0a80105" + "0102030405060708090a0b0c" + "11000000" + "1092" + "14e9" + "00000000000000000000ffffcb007107",
		},
		"NAT-PMP map": {appendPMP(nil, TCP, 4242, 5353, 2*time.Hour), "00020000" + "1092" + "14e9" + "00001c20"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, c.want)
		}
	}
}

// TestAnswers: what is believed, and what is not.
func TestAnswers(t *testing.T) {
	request := appendPCP(nil, number, TCP, ours, ours, wantLifetime)
	good := pcpAnswer(request, outside, 14)
	if a, err := parsePCP(good, number, TCP, 4242); err != nil || a.outside != outside || a.lifetime != 14*256*time.Second {
		t.Errorf("got %v, %v", a, err)
	}
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":             {nil, errAnswer},
		"a request":         {request, errAnswer},
		"NAT-PMP's":         {[]byte{0, 128, 0, 1, 0, 0, 0, 0}, errVersion},
		"another version":   {change(3, 1), errVersion},
		"not authorised":    {change(3, 2), resultError{"PCP", 2}},
		"another nonce":     {change(24, 9), errAnswer},
		"another protocol":  {change(36, 17), errAnswer},
		"another port":      {change(41, 1), errAnswer},
		"cut off":           {good[:56], errAnswer},
		"no lifetime":       {pcpAnswer(request, outside, 0), errAnswer},
		"port 0":            {pcpAnswer(request, netip.AddrPortFrom(outside.Addr(), 0), 14), errAnswer},
		"a private outside": {pcpAnswer(request, netip.MustParseAddrPort("10.0.0.1:5353"), 14), errInside},
		"a carrier's":       {pcpAnswer(request, netip.MustParseAddrPort("100.64.3.1:5353"), 14), errInside},
		"loopback":          {pcpAnswer(request, netip.MustParseAddrPort("127.0.0.1:5353"), 14), errAnswer},
		"multicast":         {pcpAnswer(request, netip.MustParseAddrPort("224.0.0.1:5353"), 14), errAnswer},
	} {
		if _, err := parsePCP(c.b, number, TCP, 4242); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	pmp, _ := hex.DecodeString("00820000" + "00000001" + "1092" + "14e9" + "00000e10")
	if a, err := parsePMP(pmp, TCP, 4242, outside.Addr()); err != nil || a.outside != outside || a.lifetime != time.Hour {
		t.Errorf("got %v, %v", a, err)
	}
	if _, err := parsePMP(pmp, UDP, 4242, outside.Addr()); !errors.Is(err, errAnswer) {
		t.Errorf("an answer for TCP: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	request := appendPCP(nil, number, TCP, ours, ours, wantLifetime)
	f.Add(pcpAnswer(request, outside, 14))
	f.Add(request)
	f.Add([]byte{0, 128, 0, 0, 0, 0, 0, 0, 203, 0, 113, 7})
	f.Add([]byte{0, 130, 0, 0, 0, 0, 0, 1, 0x10, 0x92, 0x14, 0xe9, 0, 0, 14, 16})
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(a answer, err error) {
			if err != nil {
				return
			}
			at := a.outside.Addr()
			if a.outside.Port() == 0 || !at.IsGlobalUnicast() || at.IsPrivate() || a.lifetime < leastLifetime || a.lifetime > mostLifetime {
				t.Errorf("%x: %v", b, a)
			}
		}
		check(parsePCP(b, number, TCP, 4242))
		if refused, err := pcpRefused(b); refused && (err != nil || b[3] == 0) {
			t.Error("a mapping's end is refused by what is no refusal")
		}
		at, err := parsePMPAddress(b)
		if err == nil {
			check(parsePMP(b, TCP, 4242, at))
		}
		check(parsePMP(b, TCP, 4242, outside.Addr()))
		if _, at, err := parseAnnounce(b); err == nil && (b[1] != 0x80 || at.IsValid() != (b[0] == 0)) {
			t.Errorf("%x is taken for an announcement with %v", b, at)
		}
	})
}
