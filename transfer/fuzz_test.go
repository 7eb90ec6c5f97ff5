package transfer

import (
	"bytes"
	"testing"
)

// FuzzHeader: what parses is printed and parsed to the same again, within limits.
func FuzzHeader(f *testing.F) {
	f.Add([]byte(goodHeader(5)))
	f.Add([]byte(goodHeader(1 << 62)))
	f.Add([]byte("X: y\n" + goodHeader(0)))
	f.Add([]byte("Content-Length: -1\nDisplay-Name: %2e%2e%2f\n\n"))
	f.Add([]byte("\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := parseHeader(text)
		if err != nil {
			return
		}
		if len(text) > MaxHeader || h.Size < 0 || h.Size > maxSize || h.offset > h.Size || !ValidID(h.ID) {
			t.Fatalf("accepted %+v", h)
		}
		again, err := parseHeader(appendHeader(nil, h))
		if len(h.Name) <= MaxName && (err != nil || again != h) {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}

// FuzzTrailer is the same for the text after the body.
func FuzzTrailer(f *testing.F) {
	f.Add(appendTrailer(nil, Digest{1, 2, 3}))
	f.Add([]byte("Digest: 00\n\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		sum, err := parseTrailer(text)
		if err != nil {
			return
		}
		if again, err := parseTrailer(appendTrailer(nil, sum)); err != nil || again != sum {
			t.Fatalf("%v became %v, %v", sum, again, err)
		}
	})
}

// FuzzAnswer: a line that parses is printed as a line that parses to the same, and
// nothing in it can move a terminal's cursor.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{"GO 0\n", "GO 5 chunks\n", "NGO declined not now\n", "NGO\n", "BAD integrity\n", "OK\n", "NGO \x1b[31m\n", "\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		a, err := parseAnswer(line)
		if err != nil {
			return
		}
		out := appendAnswer(nil, a)
		again, err := parseAnswer(out)
		if err != nil || again != a {
			t.Fatalf("%+v became %+v, %v", a, again, err)
		}
		if i := bytes.IndexFunc(out[:len(out)-1], func(r rune) bool { return r < 0x20 || r > 0x7e }); i >= 0 {
			t.Fatalf("%q has an unprintable byte", out)
		}
	})
}
