package pushwire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const vectorFile = "../../docs/protocol/testdata/push-vectors.txt"

var update = flag.Bool("update", false, "write the vector file, built by the second implementation")

// A second implementation, written from docs/protocol/push.md, RFC 5869 and RFC 8489 §18.5.1.2 alone.

func indepMAC(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(slices.Concat(parts...))
	return h.Sum(nil)
}

func indepToken(secret, caller, called []byte, hour uint64) []byte {
	prk := indepMAC([]byte("traverse push"), secret)
	return indepMAC(prk, caller, called, binary.BigEndian.AppendUint64(nil, hour), []byte{1})[:16]
}

func indepKey(user, realm, password string) []byte {
	sum := sha256.Sum256([]byte(user + ":" + realm + ":" + password))
	return sum[:]
}

func indepFrame(kind byte, parts ...[]byte) []byte {
	body := slices.Concat(parts...)
	return slices.Concat([]byte{kind, byte(len(body) >> 8), byte(len(body))}, body)
}

// indepParse says what a frame is, in words, or "" where the page has it refused.
func indepParse(b []byte) string {
	if len(b) < 3 || int(b[1])<<8+int(b[2]) != len(b)-3 || len(b)-3 > 2048 {
		return ""
	}
	body := b[3:]
	two := func(name string, n int) string {
		if len(body) <= n {
			return ""
		}
		return fmt.Sprintf("%s %x %x", name, body[:n], body[n:])
	}
	switch b[0] {
	case 1:
		if len(body) <= 127 {
			return fmt.Sprintf("hello %x", body)
		}
	case 2:
		if len(body) >= 1 && len(body) == 1+int(body[0])+16+32 {
			n := 1 + int(body[0])
			return fmt.Sprintf("register %x %x %x", body[1:n], body[n:n+16], body[n+16:])
		}
	case 3:
		if len(body) == 33 && body[0] <= 2 {
			return fmt.Sprintf("registered %d %x", body[0], body[1:])
		}
	case 4:
		if len(body) >= 1 && body[0] <= 1 && (len(body)-1)%16 == 0 {
			return fmt.Sprintf("mailboxes %d %x", body[0], body[1:])
		}
	case 5:
		if len(body) > 24 {
			return fmt.Sprintf("hand-in %x %x %x", body[:8], body[8:24], body[24:])
		}
	case 6:
		if len(body) == 9 && body[8] <= 2 {
			return fmt.Sprintf("outcome %x %d", body[:8], body[8])
		}
	case 7:
		return two("push", 8)
	case 8:
		return two("answer", 8)
	case 9, 10:
		if len(body) == 0 {
			return map[byte]string{9: "ping", 10: "pong"}[b[0]]
		}
	}
	return ""
}

// words is what the product's parser made of a frame, in the words of indepParse.
func words(f Frame) string {
	switch f.Kind {
	case Hello:
		return fmt.Sprintf("hello %x", f.Realm)
	case Register:
		return fmt.Sprintf("register %x %x %x", f.User, f.Instance, f.Proof)
	case Registered:
		return fmt.Sprintf("registered %d %x", f.Verdict, f.Proof)
	case Mailboxes:
		more := 0
		if f.More {
			more = 1
		}
		return fmt.Sprintf("mailboxes %d %x", more, f.Tokens)
	case HandIn:
		return fmt.Sprintf("hand-in %x %x %x", f.Tag, f.Token, f.Sealed)
	case Outcome:
		return fmt.Sprintf("outcome %x %d", f.Tag, f.Result)
	case Push:
		return fmt.Sprintf("push %x %x", f.Tag, f.Sealed)
	case Answer:
		return fmt.Sprintf("answer %x %x", f.Tag, f.Sealed)
	case Ping:
		return "ping"
	case Pong:
		return "pong"
	}
	return ""
}

// vectorText builds the file.
func vectorText() string {
	secret, caller, called := bytes.Repeat([]byte{0x5e}, 32), bytes.Repeat([]byte{0xa1}, 32), bytes.Repeat([]byte{0xb2}, 32)
	exported, instance := bytes.Repeat([]byte{0xe3}, 32), bytes.Repeat([]byte{0x1d}, 16)
	tag, token, proof := []byte{1, 2, 3, 4, 5, 6, 7, 8}, bytes.Repeat([]byte{0x70}, 16), bytes.Repeat([]byte{0x9f}, 32)
	var out strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	line("# Vectors for docs/protocol/push.md. Bytes are hex; fields are separated by spaces; - is empty.\n")
	line("# token SECRET CALLER CALLED HOUR TOKEN")
	line("token %x %x %x 500000 %x", secret, caller, called, indepToken(secret, caller, called, 500000))
	line("token %x %x %x 500000 %x", secret, called, caller, indepToken(secret, called, caller, 500000))
	line("token %x %x %x 500001 %x", secret, caller, called, indepToken(secret, caller, called, 500001))
	line("\n# proof USER REALM PASSWORD EXPORTED INSTANCE DEVICE-PROOF RELAY-PROOF      (the first three are text)")
	key := indepKey("anna", "home", "secret")
	line("proof anna home secret %x %x %x %x", exported, instance,
		indepMAC(key, []byte("traverse push device"), exported, instance), indepMAC(key, []byte("traverse push relay"), exported, instance))
	line("\n# frame BYTES      (read, and written again the same)")
	for _, b := range [][]byte{
		indepFrame(1, []byte("home")), indepFrame(2, []byte{4}, []byte("anna"), instance, proof), indepFrame(2, make([]byte, 49)),
		indepFrame(3, []byte{0}, proof), indepFrame(3, []byte{2}, make([]byte, 32)), indepFrame(4, []byte{1}, token, token), indepFrame(4, []byte{0}),
		indepFrame(5, tag, token, []byte{1, 1, 0xff}), indepFrame(6, tag, []byte{1}), indepFrame(7, tag, []byte{1, 1, 0xff}), indepFrame(8, tag, []byte{1, 1, 0xfe}),
		indepFrame(9), indepFrame(10),
	} {
		line("frame %x", b)
	}
	line("\n# noframe FAULT BYTES      (refused)")
	for _, v := range []struct {
		name string
		b    []byte
	}{
		{"realm-too-long", indepFrame(1, make([]byte, 128))},
		{"register-cut-off", indepFrame(2, []byte{9}, make([]byte, 48))},
		{"register-empty", indepFrame(2)},
		{"verdict-unknown", indepFrame(3, []byte{3}, proof)},
		{"tokens-of-15", indepFrame(4, []byte{0}, token[:15])},
		{"more-of-2", indepFrame(4, []byte{2})},
		{"mailboxes-empty", indepFrame(4)},
		{"nothing-handed-in", indepFrame(5, tag, token)},
		{"result-unknown", indepFrame(6, tag, []byte{3})},
		{"nothing-pushed", indepFrame(7, tag)},
		{"nothing-answered", indepFrame(8, tag)},
		{"ping-with-a-body", indepFrame(9, []byte{0})},
		{"pong-with-a-body", indepFrame(10, []byte{0})},
		{"longer-than-may-be", indepFrame(5, make([]byte, 2049))},
	} {
		line("noframe %s %x", v.name, v.b)
	}
	return out.String()
}

// TestVectors: the file is what the second implementation makes, and the product agrees with it.
func TestVectors(t *testing.T) {
	want := vectorText()
	if *update {
		if err := os.WriteFile(vectorFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Fatal("the second implementation makes another file")
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	seen := map[string]int{}
	for text := range strings.Lines(string(have)) {
		v := strings.Fields(text)
		if len(v) == 0 || v[0] == "#" {
			continue
		}
		seen[v[0]]++
		switch v[0] {
		case "token":
			hour, err := strconv.ParseInt(v[4], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			got := TokenOf([32]byte(unhex(v[1])), [32]byte(unhex(v[2])), [32]byte(unhex(v[3])), hour)
			if !bytes.Equal(got[:], unhex(v[5])) {
				t.Errorf("token %x, want %s", got, v[5])
			}
		case "proof":
			key, exported, i := indepKey(v[1], v[2], v[3]), [32]byte(unhex(v[4])), Instance(unhex(v[5]))
			if got := ClientProof(key, exported, i); !bytes.Equal(got[:], unhex(v[6])) {
				t.Errorf("the device's proof is %x", got)
			}
			if got := ServerProof(key, exported, i); !bytes.Equal(got[:], unhex(v[7])) {
				t.Errorf("the relay's proof is %x", got)
			}
		case "frame":
			b := unhex(v[1])
			f, err := NewReader(bytes.NewReader(b)).Next()
			if err != nil || words(f) != indepParse(b) || !bytes.Equal(Append(nil, f), b) {
				t.Errorf("%x: %s, %v; the page says %s", b, words(f), err, indepParse(b))
			}
		case "noframe":
			b := unhex(v[2])
			if f, err := NewReader(bytes.NewReader(b)).Next(); err == nil || indepParse(b) != "" {
				t.Errorf("%s: %+v, and the page says %q", v[1], f, indepParse(b))
			}
		}
	}
	if seen["token"] != 3 || seen["proof"] != 1 || seen["frame"] != 13 || seen["noframe"] != 14 {
		t.Errorf("vectors: %v", seen)
	}
}

// FuzzAgree: the two decoders agree about everything.
func FuzzAgree(f *testing.F) {
	for _, fr := range frames() {
		f.Add(Append(nil, fr))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 3 || int(b[1])<<8+int(b[2]) != len(b)-3 {
			return
		}
		fr, err := NewReader(bytes.NewReader(b)).Next()
		if err == nil && !fr.Kind.Known() {
			return
		}
		ours := ""
		if err == nil {
			ours = words(fr)
		}
		if page := indepParse(b); ours != page {
			t.Errorf("%x: %q, and the page says %q", b, ours, page)
		}
	})
}
