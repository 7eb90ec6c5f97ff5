package transfer

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"traverse.internal/docs/protocol/transferdecode"
)

// sameWord: the decoder that was written from the page takes what this package takes, and refuses the rest. Which of several things
// that are wrong is told first is not the page's.
func sameWord(t *testing.T, raw []byte, err error, wrong string) {
	t.Helper()
	if (err == nil) != (wrong == "") {
		t.Fatalf("%q: %v to one, %q to the other", raw, err, wrong)
	}
}

// smallSizes tells whether a list's chunks can be counted one by one.
func smallSizes(list []transferdecode.Entry) bool {
	return !slices.ContainsFunc(list, func(e transferdecode.Entry) bool { return e.Size > 1<<30 }) && len(list) < 64
}

// TestSecondDecoder: what a sender of ours writes, with some of it at the receiver already, is read from the page alone.
func TestSecondDecoder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"a": 1, "b": 0, "c": 2*ChunkLen + 7, "d": 300} {
		if err := os.WriteFile(filepath.Join(dir, name), content(size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	src := sourceOf(t, dir)
	a, b := memPipe("")
	sent := send(t.Context(), a, src, SendOptions{})
	var h transferdecode.Header
	var text []byte
	for !bytes.HasSuffix(text, []byte("\n\n")) {
		text = append(text, readN(t, b, 1)...)
	}
	h, wrong := transferdecode.ReadHeader(text)
	raw := readN(t, b, int(h.List))
	list, other := transferdecode.ReadList(raw, h.Entries)
	if wrong+other != "" || h.Name != "d" || len(list) != 5 {
		t.Fatalf("%q, %q: %+v, %+v", wrong, other, h, list)
	}
	lengths := transferdecode.Chunks(list, h.Chunk)
	have, answer := []byte{0, 1, 1, 1}, "GO 4 0\n" // the first and the third are here
	present, wrong := transferdecode.ReadMap(have, len(lengths))
	if wrong != "" {
		t.Fatal(wrong)
	}
	if _, err := b.Write(append([]byte(answer), have...)); err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	sums := make([][32]byte, len(lengths))
	sums[0], sums[2] = transferdecode.K12(content(1), nil), transferdecode.K12(content(2*ChunkLen + 7)[ChunkLen:2*ChunkLen], nil)
	var came []int
	if wrong := transferdecode.ReadBody(body, raw, h.Chunk, lengths, present, sums, func(n int, _ []byte) { came = append(came, n) }); wrong != "" || !slices.Equal(came, []int{1, 3, 4}) {
		t.Errorf("the body: %q, chunks %v of %d", wrong, came, len(lengths))
	}
	if _, err := b.Write([]byte("OK\n")); err != nil {
		t.Fatal(err)
	}
	if err := b.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if out := <-sent; out.err != nil {
		t.Error(out.err)
	}
}

func readN(t *testing.T, r io.Reader, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzJournal: whatever is in the files, opening them neither fails nor makes more of it than the list has; what is written after it is
// read again.
func FuzzJournal(f *testing.F) {
	path := filepath.Join(f.TempDir(), "j")
	j, err := OpenJournal(path, [32]byte{})
	if err != nil {
		f.Fatal(err)
	}
	m := handMade(3 * ChunkLen)
	if _, err := j.adopt(m); err != nil {
		f.Fatal(err)
	}
	j.add(1, Digest{1})
	if err := j.naming(0, publication{7, 1}); err != nil {
		f.Fatal(err)
	}
	j.Close()
	raw, _ := os.ReadFile(path)
	list, _ := os.ReadFile(path + listSuffix)
	f.Add(raw, list)
	f.Add(raw[:len(raw)-1], list)
	f.Add(raw, []byte("\x01"))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, raw, list []byte) {
		path := filepath.Join(t.TempDir(), "j")
		if os.WriteFile(path, raw, 0o600) != nil || os.WriteFile(path+listSuffix, list, 0o600) != nil {
			t.Skip()
		}
		j, err := OpenJournal(path, [32]byte{})
		if err != nil {
			if !errors.Is(err, ErrOwner) {
				t.Fatal(err)
			}
			return
		}
		if j.m == nil && j.count > 0 || j.m != nil && j.Bytes() > j.m.size {
			t.Fatalf("%d bytes are here", j.Bytes())
		}
		if _, err := j.adopt(m); err != nil {
			t.Fatal(err)
		}
		j.add(2, Digest{2})
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := OpenJournal(path, [32]byte{})
		if err != nil || !again.knows(2) {
			t.Fatalf("chunk 2 is forgotten, %v", err)
		}
		again.Close()
	})
}

// FuzzHeader: what parses is printed and parsed to the same again, within limits.
func FuzzHeader(f *testing.F) {
	f.Add([]byte(textOf(goodHeader(5))))
	f.Add([]byte(textOf(goodHeader(1 << 45))))
	f.Add([]byte(strings.TrimSuffix(textOf(goodHeader(5)), "\n") + "Interaction: " + testID + "\n\n"))
	f.Add([]byte("X: y\n" + textOf(goodHeader(0))))
	f.Add([]byte("Selection: yes\nRead-Back: no\nNote: a%20b\n" + textOf(goodHeader(0))))
	f.Add([]byte("Content-Length: -1\nDisplay-Name: %2e%2e%2f\n\n"))
	f.Add([]byte("\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := parseHeader(text)
		theirs, wrong := transferdecode.ReadHeader(text)
		if err == nil && (h.digest != digestName || h.chunkLen < minChunk || h.chunkLen > maxChunk || h.chunkLen&(h.chunkLen-1) != 0) {
			err = protocolError("what judge refuses")
		}
		sameWord(t, text, err, wrong)
		if err != nil {
			return
		}
		if want := (transferdecode.Header{Length: h.Size, Entries: int64(h.Entries), List: h.manifest, Chunk: h.chunkLen, Name: h.Name, ID: h.ID, Interaction: h.Interaction, Note: h.Note, Selection: h.selects, ReadBack: h.readBack}); theirs != want {
			t.Fatalf("%q is %+v to one and %+v to the other", text, want, theirs)
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
		theirs, wrong := transferdecode.ReadList(raw, int64(count))
		if chunks := len(raw) < 1<<16 && wrong == "" && smallSizes(theirs); wrong != "" || chunks {
			sameWord(t, raw, err, wrong)
			if lengths := transferdecode.Chunks(theirs, ChunkLen); err == nil && len(lengths) != int(m.chunks()) {
				t.Fatalf("%q has %d chunks to one and %d to the other", raw, m.chunks(), len(lengths))
			}
		}
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
		theirs, wrong := transferdecode.ReadMap(raw, int(count))
		sameWord(t, raw, err, wrong)
		if err != nil {
			return
		}
		for n, present := range theirs {
			if present != have.has(uint32(n)) {
				t.Fatalf("%x: chunk %d is %v to one only", raw, n, present)
			}
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
		_, wrong := transferdecode.ReadAnswer(line)
		sameWord(t, line, err, wrong)
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
