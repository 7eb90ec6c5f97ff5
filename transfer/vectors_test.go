package transfer

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/cloudflare/circl/xof/k12"
)

const helloDigest = "8aad17619d42253d4ec10335c558ab0f4efc5fd45c475f1ca9ad9d8d83934afa"

// vector is one line of the vectors file.
type vector struct {
	What, Bytes, Error       string
	Size, Offset             int64
	Name, ID, Message        string
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
	for _, what := range []string{"header", "name", "answer", "digest", "trailer", "reset"} {
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
		return v.Bytes
	}
	return v.What
}

func (v vector) check() string {
	var out []byte
	var err error
	agree := true
	switch v.What {
	case "header":
		var h header
		h, err = parseHeader([]byte(v.Bytes))
		agree = h == header{Offer: Offer{ID: v.ID, Name: v.Name, Size: v.Size}, offset: v.Offset, digest: digestName}
		out = appendHeader(nil, h)
	case "name":
		err = checkName(v.Name)
	case "answer":
		var a answer
		a, err = parseAnswer([]byte(v.Bytes))
		agree = a == answer{v.Verb, v.Offset, v.Word, v.Text}
		out = appendAnswer(nil, a)
	case "trailer":
		var d Digest
		d, err = parseTrailer([]byte(v.Bytes))
		agree = d.String() == v.Digest
		out = appendTrailer(nil, d)
	case "digest":
		message := []byte(v.Message)
		for i := range v.Pattern {
			message = append(message, byte(i%251))
		}
		state := k12.NewDraft10(nil)
		state.Write(message)
		agree = finish(&state).String() == v.Digest
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
