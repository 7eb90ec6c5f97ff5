package signalling

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"traverse.internal/identity"
)

func newDevice(tb testing.TB) *identity.Device {
	tb.Helper()
	d, err := identity.New()
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func mustSeal(tb testing.TB, d *identity.Device, m Message) []byte {
	tb.Helper()
	sealed, err := Seal(d, m)
	if err != nil {
		tb.Fatal(err)
	}
	return sealed
}

func TestSealedMessagesOpenAndFit(t *testing.T) {
	alice, bob := newDevice(t), newDevice(t)
	expiry := time.Now().Add(time.Minute).Truncate(time.Second)
	for _, c := range []struct {
		name string
		kind Kind
		body int
		want int
	}{
		{"an empty request", Request, 0, SealedSmall},
		{"an offer of 600 bytes", Request, 600, SealedSmall},
		{"the largest body of the small size", Answer, smallBody, SealedSmall},
		{"one byte more", Answer, smallBody + 1, SealedLarge},
		{"the largest body", Request, MaxBody, SealedLarge},
		{"a presence record", Record, 40, SealedSmall},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := Message{
				Kind: c.kind, From: alice.ID(), To: bob.ID(), ID: RequestID{1, 2, 3}, Expiry: expiry,
				Body: bytes.Repeat([]byte{7}, c.body),
			}
			if c.kind == Answer {
				m.RequestHash = [32]byte{9}
			}
			sealed := mustSeal(t, alice, m)
			if len(sealed) != c.want {
				t.Errorf("sealed to %d bytes, want %d", len(sealed), c.want)
			}
			if n := len("992:") + len(sealed); n > 1000 {
				t.Errorf("bencoded %d bytes, want at most 1000", n)
			}
			got, err := Open(bob, sealed)
			if err != nil {
				t.Fatal(err)
			}
			if got.Kind != m.Kind || got.From != m.From || got.To != m.To || got.ID != m.ID || !got.Expiry.Equal(m.Expiry) ||
				got.RequestHash != m.RequestHash || !bytes.Equal(got.Body, m.Body) {
				t.Errorf("opened %+v, want %+v", got, m)
			}
		})
	}
}

func TestSealRefusesALargerBody(t *testing.T) {
	alice, bob := newDevice(t), newDevice(t)
	if _, err := Seal(alice, Message{Kind: Request, To: bob.ID(), Body: make([]byte, MaxBody+1)}); !errors.Is(err, errBodyTooLarge) {
		t.Errorf("got %v, want %v", err, errBodyTooLarge)
	}
	if _, err := Seal(alice, Message{Kind: Request}); err == nil {
		t.Error("sealed to nobody")
	}
}

// sealRaw seals what may be signed for somebody else, or wrongly.
func sealRaw(tb testing.TB, to identity.DeviceID, plain []byte) []byte {
	tb.Helper()
	sealed, err := sealPlain(to, plain)
	if err != nil {
		tb.Fatal(err)
	}
	return sealed
}

func TestOpenRefuses(t *testing.T) {
	alice, bob, carol := newDevice(t), newDevice(t), newDevice(t)
	good := Message{Kind: Request, From: alice.ID(), To: bob.ID(), ID: RequestID{1}, Expiry: time.Unix(1_800_000_000, 0), Body: []byte("offer")}
	altered := func(alter func(plain []byte)) []byte {
		plain := inside(alice.Sign, good)
		alter(plain)
		return sealRaw(t, bob.ID(), plain)
	}
	signedBy := func(d *identity.Device, m Message) []byte { return sealRaw(t, bob.ID(), inside(d.Sign, m)) }
	with := func(change func(*Message)) Message {
		m := good
		change(&m)
		return m
	}
	sealed := mustSeal(t, alice, good)
	flip := func(at int) []byte {
		b := bytes.Clone(sealed)
		b[at] ^= 1
		return b
	}
	for _, c := range []struct {
		name   string
		sealed []byte
		want   error
	}{
		{"nothing", nil, errLength},
		{"a byte short", sealed[:SealedSmall-1], errLength},
		{"a byte long", append(bytes.Clone(sealed), 0), errLength},
		{"another version", flip(0), errVersion},
		{"another suite", flip(1), errVersion},
		{"another encapsulated key", flip(2), errNotForUs},
		{"another ciphertext", flip(100), errNotForUs},
		{"another tag", flip(SealedSmall - 1), errNotForUs},
		{"sealed to somebody else", mustSeal(t, alice, with(func(m *Message) { m.To = carol.ID() })), errNotForUs},
		{"signed to somebody else, sealed to us", signedBy(alice, with(func(m *Message) { m.To = carol.ID() })), errSignature},
		{"signed by another key than the sender's", signedBy(carol, good), errSignature},
		{"a signature bit", altered(func(p []byte) { p[0] ^= 1 }), errSignature},
		{"a body bit", altered(func(p []byte) { p[sigLen+contentLen] ^= 1 }), errSignature},
		{"an id bit", altered(func(p []byte) { p[sigLen+33] ^= 1 }), errSignature},
		{"an expiry bit", altered(func(p []byte) { p[sigLen+56] ^= 1 }), errSignature},
		{"an expiry beyond all time", altered(func(p []byte) { p[sigLen+49] = 0xff }), errContent},
		{"a kind that is none", altered(func(p []byte) { p[sigLen] = 5 }), errContent},
		{"a request that signs a request", altered(func(p []byte) { p[sigLen+57] = 1 }), errContent},
		{"a body longer than the message", altered(func(p []byte) { p[sigLen+89] = 0xff }), errContent},
		{"something in the padding", altered(func(p []byte) { p[len(p)-1] = 1 }), errContent},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(bob, c.sealed)
			if !errors.Is(err, c.want) || !errors.Is(err, ErrBadMessage) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestCheckTime(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		name  string
		kind  Kind
		ahead time.Duration
		want  error
	}{
		{"a minute ahead", Request, time.Minute, nil},
		{"the whole life, by a clock that is fast", Request, MaxLife + Skew, nil},
		{"longer", Request, MaxLife + Skew + time.Second, errTooFarAhead},
		{"just expired, by a clock that is slow", Answer, -Skew, nil},
		{"expired", Answer, -Skew - time.Second, errExpired},
		{"presence lives longer", Record, MaxPresenceLife, nil},
		{"a notice lives as long as a request", Notice, MaxLife + Skew + time.Second, errTooFarAhead},
		{"but not for ever", Record, MaxPresenceLife + Skew + time.Second, errTooFarAhead},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := Message{Kind: c.kind, Expiry: now.Add(c.ahead)}
			if err := m.CheckTime(now); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// FuzzParseInside: what is inside comes from whoever knows our id. It must parse or be refused, and what parses must
// build the same bytes again.
func FuzzParseInside(f *testing.F) {
	alice, bob := newDevice(f), newDevice(f)
	f.Add(inside(alice.Sign, Message{Kind: Request, From: alice.ID(), To: bob.ID(), Expiry: time.Unix(1, 0), Body: []byte("x")}))
	f.Add(inside(alice.Sign, Message{Kind: Answer, From: alice.ID(), To: bob.ID(), RequestHash: [32]byte{1}, Body: make([]byte, MaxBody)}))
	f.Add(make([]byte, SealedSmall-outsideLen))
	f.Fuzz(func(t *testing.T, plain []byte) {
		if len(plain) != SealedSmall-outsideLen && len(plain) != SealedLarge-outsideLen {
			return // Open lets no other length through
		}
		m, _, err := parseInside(bob.ID(), plain)
		if err != nil {
			return
		}
		again := inside(func([]byte) []byte { return plain[:sigLen] }, m)
		if n := min(len(again), len(plain)); !bytes.Equal(again[:n], plain[:n]) {
			t.Errorf("%x parsed and built %x", plain, again)
		}
	})
}

func FuzzOpen(f *testing.F) {
	alice, bob := newDevice(f), newDevice(f)
	f.Add(mustSeal(f, alice, Message{Kind: Request, To: bob.ID(), Body: []byte("x")}))
	f.Add([]byte{Version, Suite})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if m, err := Open(bob, sealed); err == nil && m.From != alice.ID() {
			t.Errorf("opened a message from %s", m.From)
		}
	})
}
