package transferdecode

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// vector is one line of the vectors file, as far as this decoder has to do with it.
type vector struct {
	What, Bytes, Error       string
	Size, Manifest, Chunk    int64
	Length, Again, Entries   int64
	Count                    int
	Have                     []int
	Paths, Sums              []string
	Hex                      string
	Name, ID, Message        string
	Interaction, Note        string
	Selection, ReadBack      bool
	Without                  int64
	Unwanted                 []int
	Verb, Word, Text, Digest string
	Pattern                  int
}

// TestVectors reads every vector of the page as the page says.
func TestVectors(t *testing.T) {
	f, err := os.Open("../testdata/transfer-vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, checked := bufio.NewScanner(f), 0
	for n := 1; lines.Scan(); n++ {
		if lines.Text() == "" || lines.Text()[0] == '#' {
			continue
		}
		var v vector
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatalf("line %d: %v", n, err)
		}
		got, want, wrong := v.read()
		switch {
		case wrong != v.Error:
			t.Errorf("line %d: it is %q, not %q", n, wrong, v.Error)
		case wrong == "" && got != want:
			t.Errorf("line %d: got %s, want %s", n, got, want)
		}
		checked++
	}
	if checked < 50 || lines.Err() != nil {
		t.Errorf("%d vectors, %v", checked, lines.Err())
	}
}

// read decodes a vector: what it says and what it should say.
func (v vector) read() (got, want, wrong string) {
	raw, err := hex.DecodeString(v.Hex)
	if err != nil {
		panic(err)
	}
	switch v.What {
	case "header":
		var h Header
		h, wrong = ReadHeader([]byte(v.Bytes))
		return fmt.Sprint(h), fmt.Sprint(Header{v.Size, v.Entries, v.Manifest, v.Chunk, v.Name, v.ID, v.Interaction, v.Note, v.Selection, v.ReadBack}), wrong
	case "name":
		return "", "", CheckName(v.Name)
	case "list":
		list, wrong := ReadList(raw, v.Entries)
		var paths []string
		size := int64(0)
		for _, e := range list {
			paths, size = append(paths, e.Path), size+e.Size
		}
		return fmt.Sprintf("%q %d %d", paths, size, len(Chunks(list, v.Chunk))), fmt.Sprintf("%q %d %d", v.Paths, v.Size, v.Count), wrong
	case "map":
		present, wrong := ReadMap(raw, v.Count)
		want := make([]bool, v.Count)
		for _, n := range v.Have {
			want[n] = true
		}
		return fmt.Sprint(present), fmt.Sprint(want), wrong
	case "answer":
		a, wrong := ReadAnswer([]byte(v.Bytes))
		return fmt.Sprint(a), fmt.Sprint(Answer{v.Verb, v.Length, v.Again, v.Word, v.Text, v.Without}), wrong
	case "digest":
		message := []byte(v.Message)
		for i := range v.Pattern {
			message = append(message, byte(i%251))
		}
		return fmt.Sprintf("%x", K12(message, nil)), v.Digest, ""
	case "whole":
		sums := make([][32]byte, len(v.Sums))
		for i, s := range v.Sums {
			if _, err := hex.Decode(sums[i][:], []byte(s)); err != nil {
				panic(err)
			}
		}
		for _, n := range v.Unwanted {
			sums[n] = [32]byte{}
		}
		return fmt.Sprintf("%x", Whole(raw, v.Chunk, sums)), v.Digest, ""
	case "reset":
		return "", "", "" // no bytes of this page: the mux carries codes
	}
	return "", "", strings.ToUpper(v.What)
}
