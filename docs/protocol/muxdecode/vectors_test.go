package muxdecode_test

import (
	"encoding/hex"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"traverse.internal/docs/protocol/muxdecode"
)

// block is one vector: the values of its lines by their first word, and what it wants.
type block struct {
	lines map[string]string
	want  []string
}

// readBlocks reads ../testdata/mux-vectors.txt; its first lines say what is in it.
func readBlocks(t testing.TB) []block {
	t.Helper()
	text, err := os.ReadFile("../testdata/mux-vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	for part := range strings.SplitSeq(string(text), "\n\n") {
		if strings.HasPrefix(part, "#") {
			continue
		}
		b := block{lines: map[string]string{}}
		for line := range strings.SplitSeq(strings.TrimSpace(part), "\n") {
			switch word, rest, _ := strings.Cut(line, " "); word {
			case "is", "takes", "error":
				b.want = append(b.want, line)
			default:
				b.lines[word] += rest
			}
		}
		blocks = append(blocks, b)
	}
	return blocks
}

func (b block) hex(t testing.TB, word string) []byte {
	t.Helper()
	v, err := hex.DecodeString(b.lines[word])
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (b block) number(t testing.TB, word string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(b.lines[word], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// decode returns the vector's meaning as the decoder sees it.
func (b block) decode(t *testing.T) []string {
	line := func(text string, err error) []string {
		if err != nil {
			return []string{"error " + err.Error()}
		}
		return []string{"is " + text}
	}
	switch b.lines["of"] {
	case "header":
		length, channel, err := muxdecode.Header(b.hex(t, "hex"))
		return line(fmt.Sprintf("length=%d channel=%04x", length, channel), err)
	case "request":
		return line(muxdecode.Request(b.hex(t, "hex")))
	case "message":
		return line(muxdecode.Message(b.hex(t, "hex")))
	case "stream":
		return muxdecode.Stream(b.hex(t, "hex"))
	case "resume-key":
		return line(hex.EncodeToString(muxdecode.ResumeKey(b.hex(t, "exporter"))), nil)
	case "resume-mac":
		mac := muxdecode.ResumeMAC(b.hex(t, "key"), byte(b.number(t, "from")), b.hex(t, "session"),
			uint32(b.number(t, "epoch")), b.number(t, "received"), b.hex(t, "exporter"))
		return line(hex.EncodeToString(mac), nil)
	}
	t.Fatalf("nobody decodes %q", b.lines["of"])
	return nil
}

func TestVectors(t *testing.T) {
	blocks := readBlocks(t)
	if len(blocks) < 100 {
		t.Fatalf("only %d vectors", len(blocks))
	}
	for _, b := range blocks {
		t.Run(b.lines["vector"], func(t *testing.T) {
			got := strings.Join(b.decode(t), "\n")
			want := strings.Join(b.want, "\n")
			if rest, ok := strings.CutPrefix(want, "takes "); ok {
				want = "is " + rest // that a sender writes it otherwise is core/framing's matter
			}
			if got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		})
	}
}

// TestIndependent: the decoder is made from the page and the standard library.
func TestIndependent(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			if path, _ := strconv.Unquote(spec.Path.Value); strings.Contains(path, ".") {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}
