package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/base32"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// A second decoder, written from docs/protocol/account.md alone. Only the text of ids is the other one's.

// pull takes n bytes off the front.
type pull struct{ b []byte }

func (p *pull) next(n int) []byte {
	if n > len(p.b) {
		panic("short")
	}
	head := p.b[:n]
	p.b = p.b[n:]
	return head
}

func (p *pull) number(n int) (v uint64) {
	for _, b := range p.next(n) {
		v = v*256 + uint64(b)
	}
	return v
}

// independentList reads a list as "account version signed expires id=name,…".
func independentList(raw []byte) (text string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	p := &pull{raw}
	if p.number(1) != 1 {
		return "", fmt.Errorf("format")
	}
	account := p.next(32)
	version, signed, expires := p.number(8), p.number(8), p.number(8)
	if version == 0 || expires <= signed || expires-signed > 604800 {
		return "", fmt.Errorf("times")
	}
	n := int(p.number(1))
	if n < 1 || n > 16 {
		return "", fmt.Errorf("count")
	}
	var devices []string
	for range n {
		id := p.next(32)
		name := string(p.next(int(p.number(1))))
		if !ed25519.Verify(id, append(append([]byte("traverse account member 1\n"), account...), id...), p.next(64)) {
			return "", fmt.Errorf("consent")
		}
		devices = append(devices, independentText(id)+"="+name)
	}
	text = fmt.Sprintf("%s %d %d %d %s", independentText(account), version, signed, expires, strings.Join(devices, ","))
	said := append([]byte("traverse account list 1\n"), raw[:len(raw)-len(p.b)]...)
	if len(p.b) != 64 || !ed25519.Verify(account, said, p.b) {
		return "", fmt.Errorf("signature")
	}
	return text, nil
}

// independentTicket reads a ticket as "kind inviter secret expires guest".
func independentTicket(text string) (string, error) {
	text = strings.NewReplacer("-", "", " ", "").Replace(strings.ToUpper(text))
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimPrefix(text, "TRV1"))
	if err != nil || len(raw) != 61 {
		return "", fmt.Errorf("%d bytes, %v", len(raw), err)
	}
	sum := sha3.Sum256(append([]byte("traverse ticket 1\n"), raw[:57]...))
	if !bytes.Equal(sum[:4], raw[57:]) {
		return "", fmt.Errorf("check")
	}
	p := &pull{raw}
	kind, inviter, secret, expires := p.number(1), p.next(32), p.next(16), p.number(8)
	// RFC 5869: extract with a salt of zeros, then one block of expand.
	extract := hmac.New(sha256.New, make([]byte, 32))
	extract.Write(secret)
	expand := hmac.New(sha256.New, extract.Sum(nil))
	expand.Write([]byte("traverse guest 1"))
	expand.Write(inviter)
	expand.Write([]byte{1})
	guest := ed25519.NewKeyFromSeed(expand.Sum(nil)).Public().(ed25519.PublicKey)
	return fmt.Sprintf("%d %s %x %d %s", kind, independentText(inviter), secret, expires, independentText(guest)), nil
}

func TestAccountVectorsIndependently(t *testing.T) {
	data, err := os.ReadFile(accountVectors)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for line := range strings.Lines(string(data)) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		input, want, _ := strings.Cut(rest, " ")
		var got string
		switch kind {
		case "list":
			got, err = independentList(unhex(t, input))
		case "ticket":
			got, err = independentTicket(input)
		case "join":
			f := strings.Fields(rest)
			var text []byte
			for _, id := range f[:3] {
				parsed, err := ParseDeviceID(id)
				if err != nil {
					t.Fatal(err)
				}
				text = append(text, parsed[:]...)
			}
			got, want, err = strconv.FormatBool(ed25519.Verify(text[64:], append([]byte("traverse join 1\n"), text...), unhex(t, f[3]))), "true", nil
		default:
			continue
		}
		seen[kind]++
		if err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", kind, got, err, want)
		}
	}
	if seen["list"] == 0 || seen["ticket"] == 0 || seen["join"] == 0 {
		t.Errorf("vectors missing: %v", seen)
	}
}
