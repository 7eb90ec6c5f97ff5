package transfer

import (
	"bytes"
	"testing"
)

// FuzzHeader: what parses is printed and parsed to the same again, within limits.
func FuzzHeader(f *testing.F) {
	f.Add([]byte(textOf(goodHeader(5))))
	f.Add([]byte(textOf(goodHeader(1 << 45))))
	f.Add([]byte("X: y\n" + textOf(goodHeader(0))))
	f.Add([]byte("Content-Length: -1\nDisplay-Name: %2e%2e%2f\n\n"))
	f.Add([]byte("\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := parseHeader(text)
		if err != nil {
			return
		}
		if len(text) > MaxHeader || h.Size < 0 || h.Size > maxSize || !ValidID(h.ID) {
			t.Fatalf("accepted %+v", h)
		}
		again, err := parseHeader(appendHeader(nil, h))
		if len(h.Name) <= MaxName && (err != nil || again != h) {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}

// FuzzManifest: a list that parses is written as the same bytes, and its chunks cover its files.
func FuzzManifest(f *testing.F) {
	f.Add(handMade(5).raw, 1)
	tree, err := newManifest([]Entry{
		{Kind: Folder, Path: "d", Mode: 0o755},
		{Kind: File, Path: "d/a", Mode: 0o644, Mod: -1, Size: 3 << 20},
		{Kind: Link, Path: "d/l", Mode: 0o777, Target: "a"},
	}, ChunkLen)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tree.raw, 3)
	f.Add([]byte("\x01"), 1)
	f.Fuzz(func(t *testing.T, raw []byte, count int) {
		m, err := parseManifest(raw, count, ChunkLen)
		if err != nil {
			return
		}
		again, err := newManifest(m.entries, ChunkLen)
		if err != nil || !bytes.Equal(again.raw, raw) {
			t.Fatalf("%q became %q, %v", raw, again.raw, err)
		}
		for i := range m.entries {
			sum := int64(0)
			for n := m.first[i]; n < m.first[i+1]; n++ {
				_, length := m.span(i, n)
				sum += length
			}
			if sum != m.entries[i].Size {
				t.Fatalf("chunks of %d bytes for %d", sum, m.entries[i].Size)
			}
		}
	})
}

// FuzzHave: a map that parses is written as the same bytes.
func FuzzHave(f *testing.F) {
	f.Add([]byte{0, 3, 2, 1}, uint16(10))
	f.Add([]byte{}, uint16(0))
	f.Add([]byte{1}, uint16(1))
	f.Fuzz(func(t *testing.T, raw []byte, count uint16) {
		have, err := parseHave(raw, uint32(count))
		if err != nil {
			return
		}
		if again := have.appendHave(nil, uint32(count)); !bytes.Equal(again, raw) {
			t.Fatalf("%x became %x", raw, again)
		}
	})
}

// FuzzAnswer: a line that parses is printed as a line that parses to the same, and
// nothing in it can move a terminal's cursor.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{"GO 0 0\n", "GO 5 1048576 words\n", "NGO declined not now\n", "NGO\n", "BAD integrity\n", "OK\n", "NGO \x1b[31m\n", "\n"} {
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
