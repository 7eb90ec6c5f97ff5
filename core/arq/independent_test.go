package arq

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
)

// decodePacket is written from docs/protocol/udp.md 5 alone.
func decodePacket(b []byte) (string, bool) {
	number := func(n int) (v uint64, ok bool) {
		if len(b) < n {
			return 0, false
		}
		for _, c := range b[:n] {
			v = v<<8 | uint64(c)
		}
		b = b[n:]
		return v, true
	}
	num, ok := number(6)
	if !ok || len(b) == 0 {
		return "", false
	}
	out := fmt.Sprintf("#%d", num)
	for len(b) > 0 {
		kind, _ := number(1)
		switch kind {
		case 1:
			off, ok := number(6)
			if !ok || len(b) == 0 {
				return "", false
			}
			return out + fmt.Sprintf(" DATA %d %x", off, b), true
		case 2:
			high, _ := number(6)
			delay, _ := number(2)
			n, ok := number(1)
			length, ok2 := number(4)
			if !ok || !ok2 || n < 1 || n > 32 || length < 1 || length > high+1 {
				return "", false
			}
			low := high + 1 - length
			out += fmt.Sprintf(" ACK %d-%d +%dus", low, high, delay*16)
			for range n - 1 {
				gap, ok := number(4)
				length, ok2 := number(4)
				if !ok || !ok2 || gap < 1 || length < 1 || gap+length > low {
					return "", false
				}
				top := low - gap - 1
				low = low - gap - length
				out += fmt.Sprintf(",%d-%d", low, top)
			}
		case 3, 4:
			v, ok := number(6)
			if !ok {
				return "", false
			}
			out += fmt.Sprintf(" %s %d", [...]string{3: "WINDOW", 4: "FIN"}[kind], v)
		case 5:
			out += " CLOSE"
		case 6:
			out += " PING"
		case 7:
			return out + " PAD", true
		default:
			return "", false
		}
	}
	return out, true
}

// describe says the same of what the product's parser understood.
func describe(b []byte) (string, bool) {
	var p packet
	if !p.parse(b) {
		return "", false
	}
	out := fmt.Sprintf("#%d", p.number)
	for i, r := range p.acks {
		if i == 0 {
			out += fmt.Sprintf(" ACK %d-%d +%dus", r.lo, r.hi-1, p.ackDelay*ackUnit)
		} else {
			out += fmt.Sprintf(",%d-%d", r.lo, r.hi-1)
		}
	}
	if p.hasWindow {
		out += fmt.Sprintf(" WINDOW %d", p.window)
	}
	if p.hasFin {
		out += fmt.Sprintf(" FIN %d", p.fin)
	}
	if p.closed {
		out += " CLOSE"
	}
	if p.hasData {
		out += fmt.Sprintf(" DATA %d %x", p.offset, p.data)
	}
	return out, true
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("../../docs/protocol/testdata/udp-vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(raw)) {
		fields := strings.SplitN(strings.TrimSpace(line), " ", 3)
		if fields[0] != "packet" {
			continue
		}
		b, err := hex.DecodeString(fields[1])
		if err != nil {
			t.Fatal(err)
		}
		seen++
		for name, decode := range map[string]func([]byte) (string, bool){"the product": describe, "the page": decodePacket} {
			got, ok := decode(b)
			if name == "the product" {
				fields[2] = strings.TrimSuffix(strings.ReplaceAll(fields[2], " PING", ""), " PAD")
			}
			if !ok {
				got = "refused"
			}
			if name == "the page" {
				got = strings.TrimSuffix(strings.ReplaceAll(got, " PING", ""), " PAD")
				fields[2] = strings.TrimSuffix(strings.ReplaceAll(fields[2], " PING", ""), " PAD")
			}
			if got != fields[2] {
				t.Errorf("%x by %s: %s, want %s", b, name, got, fields[2])
			}
		}
	}
	if seen < 8 {
		t.Errorf("%d vectors", seen)
	}
}
