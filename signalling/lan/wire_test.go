package lan

import (
	"bytes"
	"testing"
	"time"

	"traverse.internal/identity"
)

// TestHints: the two compute the same name, each direction and hour has its own, and nobody without the secret has it.
func TestHints(t *testing.T) {
	a, b := newDevice(t), newDevice(t)
	ab, err := a.Shared(b.ID())
	if err != nil {
		t.Fatal(err)
	}
	ba, err := b.Shared(a.ID())
	if err != nil {
		t.Fatal(err)
	}
	h := hintOf(ab, a.ID(), b.ID(), 1)
	if got := hintOf(ba, a.ID(), b.ID(), 1); got != h {
		t.Error("the two sides have two hints")
	}
	for name, other := range map[string]hint{
		"the other direction": hintOf(ab, b.ID(), a.ID(), 1),
		"the next hour":       hintOf(ab, a.ID(), b.ID(), 2),
		"another secret":      hintOf([32]byte{1}, a.ID(), b.ID(), 1),
	} {
		if other == h {
			t.Errorf("%s has the same hint", name)
		}
	}
	if got, ok := parseName(nameOf(h)); !ok || got != h {
		t.Errorf("the name %s is read as %x", nameOf(h), got)
	}
	hour := time.Unix(7200, 0)
	if n := len(hoursAt(hour.Add(30 * time.Minute))); n != 1 {
		t.Errorf("%d hours count in the middle of one", n)
	}
	if n := len(hoursAt(hour)); n != 2 {
		t.Errorf("%d hours count at the change", n)
	}
}

func newDevice(t *testing.T) *identity.Device {
	t.Helper()
	d, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestRoundTrips: what is written is read.
func TestRoundTrips(t *testing.T) {
	h := hint{1, 2, 3}
	q, err := appendQuery(h, 7)
	if err != nil {
		t.Fatal(err)
	}
	if got, id, ok := parseQuery(q); !ok || got != h || id != 7 {
		t.Errorf("query: %x %d %v", got, id, ok)
	}
	if _, _, _, ok := parseReply(q); ok {
		t.Error("a query is taken for a reply")
	}
	r, err := appendReply(h, 7, 4242)
	if err != nil {
		t.Fatal(err)
	}
	if got, id, port, ok := parseReply(r); !ok || got != h || id != 7 || port != 4242 {
		t.Errorf("reply: %x %d %d %v", got, id, port, ok)
	}
	if _, _, ok := parseQuery(r); ok {
		t.Error("a reply is taken for a query")
	}
	for _, g := range []datagram{{kindRequest, h, tag{9}, []byte("x")}, {kindReceipt, h, tag{9}, nil}, {kindAnswer, h, tag{9}, bytes.Repeat([]byte{1}, 1000)}} {
		got, ok := parseDatagram(appendDatagram(nil, g))
		if !ok || got.kind != g.kind || got.hint != g.hint || got.tag != g.tag || !bytes.Equal(got.sealed, g.sealed) {
			t.Errorf("datagram %d: %v %v", g.kind, got, ok)
		}
	}
}

func FuzzReceive(f *testing.F) {
	h := hint{1, 2, 3}
	q, _ := appendQuery(h, 7)
	r, _ := appendReply(h, 7, 4242)
	f.Add(q)
	f.Add(r)
	f.Add(appendDatagram(nil, datagram{kindRequest, h, tag{9}, []byte("x")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseQuery(b)
		if _, _, port, ok := parseReply(b); ok && port == 0 {
			t.Error("port 0")
		}
		if g, ok := parseDatagram(b); ok && !bytes.Equal(appendDatagram(nil, g), b) {
			t.Errorf("%x is written back differently", b)
		}
	})
}
