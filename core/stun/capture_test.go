package stun_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"traverse.internal/core/stun"
)

// exchange is one line of testdata/jami.txt.
type exchange struct {
	what, attrs string
	raw         []byte
}

func captured(t testing.TB) (all []exchange) {
	t.Helper()
	f, err := os.Open("testdata/jami.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		field := strings.Split(lines.Text(), " | ")
		all = append(all, exchange{field[0], field[1], unhex(t, field[2])})
	}
	return all
}

// describe prints a message as the decoder that made testdata/jami.txt did.
func describe(m stun.Message) (what, attrs string) {
	class := map[stun.Class]string{
		stun.ClassRequest: "req", stun.ClassIndication: "ind", stun.ClassSuccess: "ok", stun.ClassError: "ERR",
	}
	var all []string
	for a, v := range m.All() {
		s := a.String()
		switch a {
		case stun.AttrSoftware, stun.AttrUsername, stun.AttrRealm:
			s += "=" + strings.TrimRight(string(v), "\x00") // pjnath counts its padding
		case stun.AttrNonce, stun.AttrMessageIntegrity:
			s += fmt.Sprintf("=[%dB]", len(v))
		case stun.AttrXORMappedAddress, stun.AttrXORPeerAddress, stun.AttrXORRelayedAddress:
			// Repeated attributes are told apart by their place: the accessors would give the first.
			addrs, err := m.AppendXORAddrs(nil, a)
			if err != nil {
				return "", err.Error()
			}
			n := strings.Count(strings.Join(all, " "), s+"=")
			s += fmt.Sprintf("=%v:%d", addrs[n].Addr(), addrs[n].Port())
		case stun.AttrErrorCode:
			code, phrase, err := m.ErrorCode()
			if err != nil {
				return "", err.Error()
			}
			s += fmt.Sprintf("=%d %s", uint16(code), strings.TrimRight(string(phrase), "\x00"))
		case stun.AttrUseCandidate:
		default:
			s += fmt.Sprintf("=%x", v)
		}
		all = append(all, s)
	}
	return m.Type().Method.String() + " " + class[m.Type().Class], strings.Join(all, " ")
}

// What Jami and coturn say to each other reads the same here as in the decoder of the capture, and verifies.
func TestJamiCapture(t *testing.T) {
	key := stun.LongTermKey("ring", "ring", "ring")
	for _, x := range captured(t) {
		m, err := stun.Parse(x.raw)
		if err != nil {
			t.Errorf("%s: %v", x.what, err)
			continue
		}
		what, attrs := describe(m)
		if what != x.what || attrs != x.attrs {
			t.Errorf("got  %s %s\nwant %s %s", what, attrs, x.what, x.attrs)
		}
		if unknown := m.AppendUnknown(nil, nil); len(unknown) != 0 {
			t.Errorf("%s: unknown %v", x.what, unknown)
		}
		ice := m.Type().Method == stun.MethodBinding
		if m.Has(stun.AttrMessageIntegrity) && !ice {
			if err := m.CheckIntegrity(key); err != nil {
				t.Errorf("%s: %v", x.what, err)
			}
		}
		if err := m.CheckFingerprint(); ice && err != nil {
			t.Errorf("%s: %v", x.what, err)
		}
		if n, need, err := stun.StreamFrameLen(x.raw); n != len(x.raw) || need != 0 || err != nil {
			t.Errorf("%s: frame of %d, %d missing, %v, want %d", x.what, n, need, err, len(x.raw))
		}
	}
}
