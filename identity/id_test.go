package identity

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// The public key of RFC 8032 §7.1 TEST 1.
const sample = "25NJQAM-CWEFLPM-VKL73J4-SZAHHIT-HOC4XT3-KTCGJNJ-PAINGR5-YHKENAI"

func sampleID(t *testing.T) DeviceID {
	t.Helper()
	id, err := ParseDeviceID(sample)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestParseDeviceIDIgnoresCaseAndHyphens(t *testing.T) {
	want := sampleID(t)
	bare := strings.ReplaceAll(sample, "-", "")
	for _, s := range []string{
		strings.ToLower(sample),
		bare,
		strings.ToLower(bare),
		"-" + bare + "-",
		bare[:3] + "--" + bare[3:],
	} {
		got, err := ParseDeviceID(s)
		if err != nil || got != want {
			t.Errorf("ParseDeviceID(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	if got := want.String(); got != sample {
		t.Errorf("String() = %q, want %q", got, sample)
	}
	if got := want.Short(); got != "25NJQAM" {
		t.Errorf("Short() = %q, want %q", got, "25NJQAM")
	}
}

func TestParseDeviceIDFaults(t *testing.T) {
	bare := strings.ReplaceAll(sample, "-", "")
	for _, c := range []struct {
		name, in string
		want     IDError
	}{
		{"empty", "", IDError{Fault: FaultLength, Got: 0}},
		{"hyphens only", "-------", IDError{Fault: FaultLength, Got: 0}},
		{"one short", bare[:55], IDError{Fault: FaultLength, Got: 55}},
		{"one long", bare + "A", IDError{Fault: FaultLength, Got: 57}},
		{"far too long", strings.Repeat("-", 200), IDError{Fault: FaultLength, Got: 200}},
		{"digit one", strings.Replace(sample, "2", "1", 1), IDError{Fault: FaultAlphabet, Pos: 0, Char: '1'}},
		{"space", sample[:8] + " " + sample[9:], IDError{Fault: FaultAlphabet, Pos: 8, Char: ' '}},
		{"letter outside ASCII", sample[:7] + "é" + sample[8:], IDError{Fault: FaultAlphabet, Pos: 7, Char: 'é'}},
		{"wrong character in block 1", "3" + bare[1:], IDError{Fault: FaultCheck, Block: 1}},
		{"wrong check digit in block 3", bare[:41] + "A" + bare[42:], IDError{Fault: FaultCheck, Block: 3}},
		{"padding bits set", withPadding(bare), IDError{Fault: FaultPadding}},
		{"the zero id", strings.Repeat("A", 56), IDError{Fault: FaultKey}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseDeviceID(c.in)
			var got *IDError
			if !errors.As(err, &got) || *got != c.want {
				t.Fatalf("ParseDeviceID(%q) error = %#v, want %#v", c.in, err, &c.want)
			}
			if text := err.Error(); !strings.HasPrefix(text, "identity: ") {
				t.Errorf("error reads %q", text)
			}
		})
	}
}

// withPadding sets the last of the four bits after the key and mends the check digit.
func withPadding(bare string) string {
	var block [blockLen]byte
	for i := range block {
		block[i], _ = digitOf(rune(bare[42+i]))
	}
	block[blockLen-1] |= 1
	out := []byte(bare[:42])
	for _, v := range block {
		out = append(out, alphabet[v])
	}
	return string(append(out, alphabet[luhn(block[:])]))
}

// Every wrong character is caught, wherever it stands.
func TestAnyOneWrongCharacterIsCaught(t *testing.T) {
	bare := strings.ReplaceAll(sample, "-", "")
	for i := range bare {
		for _, c := range alphabet {
			if byte(c) == bare[i] {
				continue
			}
			if _, err := ParseDeviceID(bare[:i] + string(c) + bare[i+1:]); err == nil {
				t.Fatalf("character %d changed from %c to %c: accepted", i, bare[i], c)
			}
		}
	}
}

// Luhn misses a swap of neighbours only when they are A and 7 (0 and 31).
func TestSwappedNeighboursInABlockAreCaught(t *testing.T) {
	for a := range byte(32) {
		for b := range byte(32) {
			one, two := [blockLen]byte{5: a, 6: b}, [blockLen]byte{5: b, 6: a}
			missed := luhn(one[:]) == luhn(two[:])
			if want := a == b || a+b == 31 && a*b == 0; missed != want {
				t.Fatalf("digits %d and %d swapped: missed = %v, want %v", a, b, missed, want)
			}
		}
	}
}

func TestDeviceIDInJSON(t *testing.T) {
	type record struct {
		ID DeviceID `json:"id"`
	}
	in := record{sampleID(t)}
	b, err := json.Marshal(in)
	if want := `{"id":"` + sample + `"}`; err != nil || string(b) != want {
		t.Fatalf("Marshal = %s, %v, want %s", b, err, want)
	}
	var out record
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Fatalf("Unmarshal = %v, %v, want %v", out, err, in)
	}
	if b, err = json.Marshal(record{}); err != nil || string(b) != `{"id":""}` {
		t.Fatalf("Marshal of the zero id = %s, %v", b, err)
	}
	if err := json.Unmarshal(b, &out); err != nil || !out.ID.IsZero() {
		t.Fatalf("Unmarshal of the empty id = %v, %v, want the zero id", out, err)
	}
	if err := json.Unmarshal([]byte(`{"id":"nonsense"}`), &out); err == nil {
		t.Fatal("Unmarshal took nonsense")
	}
	// As map keys, the form in which the API lists devices.
	if b, err = json.Marshal(map[DeviceID]int{in.ID: 1}); err != nil || string(b) != `{"`+sample+`":1}` {
		t.Fatalf("Marshal of a map = %s, %v", b, err)
	}
}

func TestCompareOrdersAsBytes(t *testing.T) {
	low, high := DeviceID{0: 1, 31: 9}, DeviceID{0: 2}
	for _, c := range []struct {
		a, b DeviceID
		want int
	}{{low, high, -1}, {high, low, 1}, {low, low, 0}} {
		if got := c.a.Compare(c.b); got != c.want {
			t.Errorf("%x.Compare(%x) = %d, want %d", c.a[:1], c.b[:1], got, c.want)
		}
	}
}

func TestAppendTextDoesNotAllocate(t *testing.T) {
	id := sampleID(t)
	buf := make([]byte, 0, textLen)
	if n := testing.AllocsPerRun(100, func() { buf, _ = id.AppendText(buf[:0]) }); n != 0 {
		t.Errorf("AppendText: %v allocations, want 0", n)
	}
}

func FuzzParseDeviceID(f *testing.F) {
	f.Add(sample)
	f.Add(strings.ToLower(strings.ReplaceAll(sample, "-", "")))
	f.Add(strings.Repeat("A", 56))
	f.Add(withPadding(strings.ReplaceAll(sample, "-", "")))
	f.Add("25NJQAM-CWEBL7N-\xff\x00")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseDeviceID(s)
		if err != nil {
			var fault *IDError
			if !errors.As(err, &fault) || fault.Error() == "" {
				t.Fatalf("ParseDeviceID(%q) error %T", s, err)
			}
			return
		}
		bare := strings.ToUpper(strings.ReplaceAll(s, "-", ""))
		if got := strings.ReplaceAll(id.String(), "-", ""); got != bare {
			t.Fatalf("ParseDeviceID(%q).String() = %q", s, got)
		}
		if _, err := id.X25519(); err != nil {
			t.Fatalf("ParseDeviceID(%q) let a bad key in: %v", s, err)
		}
	})
}
