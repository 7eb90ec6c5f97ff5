package pushwire

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// frames is one of each kind.
func frames() []Frame {
	return []Frame{
		{Kind: Hello, Realm: "home"},
		{Kind: Register, User: "anna", Instance: Instance{1}, Proof: Proof{2}},
		{Kind: Register},
		{Kind: Registered, Verdict: Full, Proof: Proof{3}},
		{Kind: Mailboxes, More: true, Tokens: bytes.Repeat([]byte{7}, 16*MaxTokens)},
		{Kind: Mailboxes},
		{Kind: HandIn, Tag: Tag{1}, Token: Token{2}, Sealed: make([]byte, MaxSealed)},
		{Kind: Outcome, Tag: Tag{1}, Result: Busy},
		{Kind: Push, Tag: Tag{1}, Sealed: []byte("x")},
		{Kind: Answer, Tag: Tag{1}, Sealed: []byte("x")},
		{Kind: Ping},
		{Kind: Pong},
	}
}

// TestRoundTrip: what is written is read, from a stream in the smallest pieces.
func TestRoundTrip(t *testing.T) {
	var all []byte
	for _, f := range frames() {
		all = Append(all, f)
	}
	in := NewReader(oneByte{bytes.NewReader(all)})
	for _, want := range frames() {
		got, err := in.Next()
		if err != nil || !bytes.Equal(Append(nil, got), Append(nil, want)) || got.User != want.User || got.Verdict != want.Verdict || got.Result != want.Result {
			t.Errorf("kind %d: %+v, %v", want.Kind, got, err)
		}
	}
	if _, err := in.Next(); err != io.EOF {
		t.Errorf("the end is %v", err)
	}
	if _, err := NewReader(bytes.NewReader(all[:5])).Next(); err != io.ErrUnexpectedEOF {
		t.Errorf("an end inside a frame is %v", err)
	}
	if _, err := NewReader(bytes.NewReader([]byte{byte(Ping), 8, 1})).Next(); !errors.Is(err, ErrFrame) {
		t.Errorf("a frame that is too long: %v", err)
	}
	if f, err := NewReader(bytes.NewReader([]byte{99, 0, 1, 0})).Next(); err != nil || f.Kind.Known() {
		t.Errorf("a frame of a later version: %+v, %v", f, err)
	}
}

type oneByte struct{ r io.Reader }

func (o oneByte) Read(b []byte) (int, error) { return o.r.Read(b[:1]) }

// TestTokens: each direction and hour has its own, and both sides the same.
func TestTokens(t *testing.T) {
	secret, a, b := [32]byte{1}, [32]byte{2}, [32]byte{3}
	all := map[Token]string{}
	for name, tok := range map[string]Token{
		"it": TokenOf(secret, a, b, 7), "the other direction": TokenOf(secret, b, a, 7), "the next hour": TokenOf(secret, a, b, 8),
		"another pair": TokenOf([32]byte{9}, a, b, 7),
	} {
		if other, ok := all[tok]; ok {
			t.Errorf("%s has the token of %s", name, other)
		}
		all[tok] = name
	}
	if ClientProof([]byte("k"), secret, Instance{}).Equal(ServerProof([]byte("k"), secret, Instance{})) {
		t.Error("the two sides' proofs are one: the relay could send ours back")
	}
}

// FuzzParse: what is read is written back as it was.
func FuzzParse(f *testing.F) {
	for _, fr := range frames() {
		b := Append(nil, fr)
		f.Add(b[0], b[3:])
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		if len(b) > MaxBody {
			return
		}
		fr, err := Parse(Kind(kind), b)
		if err != nil || !fr.Kind.Known() {
			return
		}
		if again := Append(nil, fr); !bytes.Equal(again[3:], b) {
			t.Errorf("kind %d: %x is written as %x", kind, b, again[3:])
		}
	})
}
