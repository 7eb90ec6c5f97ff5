package main

import (
	"io"
	"os"
	"strings"
	"testing"
)

// TestDocsMan: the manual page in docs/man is what the commands say.
func TestDocsMan(t *testing.T) {
	const path = "../../docs/man/turnd.1"
	var out strings.Builder
	if code := run(t.Context(), []string{"man"}, nil, &out, io.Discard); code != 0 {
		t.Fatal(code)
	}
	if *update {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != out.String() {
		t.Errorf("%s is not what the commands say (%v); run go test ./cmd/turnd -run Docs -update", path, err)
	}
}
