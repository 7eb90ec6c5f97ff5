package transfer

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// vector is one line of the vectors file.
type vector struct {
	What, Bytes, Error       string
	Size, Manifest, Chunk    int64
	Length, Again            int64
	Entries                  int
	Count                    uint32
	Have                     []uint32
	Paths, Sums              []string
	Hex                      string
	Name, ID, Message        string
	Interaction, Note        string
	Selection, ReadBack      bool
	Without                  int64
	Unwanted                 []uint32
	Verb, Word, Text, Digest string
	Pattern                  int
	Code                     uint16
	Canonical                bool
}

// TestVectors checks the package against the document's vectors.
func TestVectors(t *testing.T) {
	f, err := os.Open("../docs/protocol/testdata/transfer-vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := map[string]int{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		text := lines.Text()
		if text == "" || text[0] == '#' {
			continue
		}
		var v vector
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&v); err != nil {
			t.Errorf("line %d: %v", n, err)
			continue
		}
		seen[v.What]++
		if got := v.check(); got != v.want() {
			t.Errorf("line %d: got %q, want %q", n, got, v.want())
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"header", "list", "map", "name", "answer", "digest", "whole", "reset"} {
		if seen[what] == 0 {
			t.Errorf("no vector for %s", what)
		}
	}
}

// want is what check should return: the error's word, or the canonical bytes, or
// nothing when there is nothing to print.
func (v vector) want() string {
	switch {
	case v.Error != "":
		return v.Error
	case v.Canonical:
		return v.Bytes + string(v.raw())
	}
	return v.What
}

// raw is what is not text.
func (v vector) raw() []byte {
	raw, err := hex.DecodeString(v.Hex)
	if err != nil {
		panic(err)
	}
	return raw
}

// list checks a list of entries: its paths, and how many chunks there are.
func (v vector) list() (out []byte, err error, agree bool) { //nolint:revive // the order of check
	m, err := parseManifest(v.raw(), v.Entries, v.Chunk)
	if err != nil {
		return nil, err, true
	}
	var paths []string
	for _, e := range m.entries {
		paths = append(paths, e.Path)
		out = appendEntry(out, e)
	}
	return out, nil, slices.Equal(paths, v.Paths) && m.size == v.Size && m.chunks() == v.Count
}

func (v vector) check() string {
	var out []byte
	var err error
	agree := true
	switch v.What {
	case "header":
		var h header
		h, err = parseHeader([]byte(v.Bytes))
		agree = h == header{
			Offer: Offer{ID: v.ID, Name: v.Name, Size: v.Size, Entries: v.Entries, Interaction: v.Interaction, Note: v.Note, selects: v.Selection, readBack: v.ReadBack}, version: wireVersion,
			manifest: v.Manifest, chunkLen: v.Chunk, digest: digestName,
		}
		out = appendHeader(nil, h)
	case "list":
		out, err, agree = v.list()
	case "map":
		var have bitmap
		have, err = parseHave(v.raw(), v.Count)
		var list []uint32
		for n := range v.Count {
			if have.has(n) {
				list = append(list, n)
			}
		}
		agree = slices.Equal(list, v.Have)
		out = have.appendHave(nil, v.Count)
	case "name":
		err = checkName(v.Name)
	case "answer":
		var a answer
		a, err = parseAnswer([]byte(v.Bytes))
		agree = a == answer{v.Verb, v.Length, v.Again, v.Word, v.Text, v.Without}
		out = appendAnswer(nil, a)
	case "digest":
		message := []byte(v.Message)
		for i := range v.Pattern {
			message = append(message, byte(i%251))
		}
		agree = plain(message).String() == v.Digest
	case "whole":
		m, err := parseManifest(v.raw(), v.Entries, v.Chunk)
		if err != nil {
			return wordOf(err)
		}
		var sums []Digest
		for _, s := range v.Sums {
			raw, _ := hex.DecodeString(s)
			sums = append(sums, Digest(raw))
		}
		var unwanted bitmap
		for _, n := range v.Unwanted {
			unwanted.set(n)
		}
		agree = rootOf(m, sums, unwanted).String() == v.Digest
	case "reset":
		agree = wordOf(kindOfCode(v.Code)) == v.Word
	}
	switch {
	case err != nil:
		return wordOf(err)
	case !agree:
		return "another meaning"
	case v.Canonical:
		return string(out)
	}
	return v.What
}
