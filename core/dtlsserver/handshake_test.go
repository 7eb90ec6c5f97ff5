package dtlsserver

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"testing"
)

// helloWith is a ClientHello with a suite, a group and a signature that are taken, and with further extensions.
func helloWith(record uint64, more ...[]byte) []byte {
	ext := []byte{0, extGroups, 0, 4, 0, 2, 0, 23, 0, extSignatures, 0, 4, 0, 2, 4, 3}
	for _, m := range more {
		ext = append(ext, m...)
	}
	body := append([]byte{0xfe, 0xfd}, bytes.Repeat([]byte{7}, 32)...)
	body = append(body, 0, 0, 0, 2, 0xc0, 0x2b, 1, 0)
	body = append(binary.BigEndian.AppendUint16(body, uint16(len(ext))), ext...)
	return append(appendMessageHeader(appendRecordHeader(nil, typeHandshake, version12, 0, record, messageHeader+len(body)),
		msgClientHello, 1, len(body), 0, len(body)), body...)
}

func TestBegin(t *testing.T) {
	config := ecdsaConfig(t)
	for _, c := range []struct {
		name  string
		hello []byte
		want  error
	}{
		{"plain", helloWith(1), nil},
		{"renegotiation: begins", helloWith(1, []byte{0xff, 1, 0, 1, 0}), nil},
		{"renegotiation: goes on", helloWith(1, []byte{0xff, 1, 0, 3, 2, 1, 2}), errRenegotiate},
		{"renegotiation: empty", helloWith(1, []byte{0xff, 1, 0, 0}), errRenegotiate},
		{"points: also compressed", helloWith(1, []byte{0, extPointFormats, 0, 3, 2, 1, 0}), nil},
		{"points: compressed alone", helloWith(1, []byte{0, extPointFormats, 0, 2, 1, 1}), errPoints},
		{"numbers: as many as there are", helloWith(maxSequence), errNoHello},
	} {
		if _, err := Begin(config, c.hello); err != c.want && !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

// What has come may be ignored by its number, so what is sent again has other numbers and is else the same: RFC 6347 §4.1.
func TestFlightIsNumberedAnew(t *testing.T) {
	h, err := Begin(certificateOf(t, 4000), helloWith(9))
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(9)
	var before []byte
	for range 3 {
		var messages []byte
		for _, d := range h.Flight() {
			for len(d) > 0 {
				r, rest, ok := parseRecord(d)
				if !ok || r.sequence != next || r.epoch != 0 {
					t.Fatalf("record %d of epoch %d, want %d", r.sequence, r.epoch, next)
				}
				messages, d = append(messages, r.body...), rest
				next++
			}
		}
		if before != nil && !bytes.Equal(messages, before) {
			t.Error("other messages")
		}
		before = messages
	}
}

func certificateOf(t testing.TB, padding int) *Config {
	return certificate(t, ecdsaConfig(t).Key, padding)
}

// keyMessage is a client's key, which anybody can send.
func keyMessage(number uint16, point []byte) []byte {
	body := append([]byte{byte(len(point))}, point...)
	return append(appendMessageHeader(appendRecordHeader(nil, typeHandshake, version12, 0, 3, messageHeader+len(body)),
		msgClientKeyExchange, number, len(body), 0, len(body)), body...)
}

func point(t testing.TB) []byte {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key.PublicKey().Bytes()
}

// Nobody but the client ends its handshake: what others send in its name is dropped, or gives way to its own.
func TestForgedKeys(t *testing.T) {
	h, err := Begin(ecdsaConfig(t), helloWith(1))
	if err != nil {
		t.Fatal(err)
	}
	off := point(t)
	off[len(off)-1] ^= 1 // not on the curve
	for _, p := range [][]byte{nil, {4}, off, make([]byte, 65)} {
		if s, _, _, err := h.Take(keyMessage(h.theirs, p)); s != nil || err != nil || h.master != nil {
			t.Fatalf("point %x: %v, %v", p, s, err)
		}
	}
	var masters [][]byte
	honest := point(t)
	for _, p := range [][]byte{point(t), honest, honest} {
		if _, _, _, err := h.Take(keyMessage(h.theirs, p)); err != nil {
			t.Fatal(err)
		}
		masters = append(masters, h.master)
	}
	if bytes.Equal(masters[0], masters[1]) || !bytes.Equal(masters[1], masters[2]) {
		t.Error("want the keys of the last key that came")
	}
	for range 2 * maxRepeats {
		_, _, _, _ = h.Take(keyMessage(h.theirs, point(t)))
	}
	if h.keys != 0 || bytes.Equal(h.master, masters[2]) {
		t.Errorf("%d more keys would be tried, want 0", h.keys)
	}
}

// Who repeats a ClientHello without a cookie has to know its random, and gets the flight a few times.
func TestRepeatsAreCounted(t *testing.T) {
	hello := helloWith(1)
	h, err := Begin(ecdsaConfig(t), hello)
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Clone(hello)
	other[recordHeader+messageHeader+5]++
	if _, _, again, _ := h.Take(other); again {
		t.Error("the flight for somebody else's ClientHello")
	}
	flights := 0
	for range 2 * maxRepeats {
		if _, _, again, _ := h.Take(hello); again {
			flights++
		}
	}
	if flights != maxRepeats {
		t.Errorf("%d flights, want %d", flights, maxRepeats)
	}
}
