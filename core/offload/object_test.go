package offload

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestObjectIsCurrent compares the committed object with its source: by the source's digest, and, where the compiler that
// made it is installed, by making it again. relay.sum names both; `go generate ./core/offload` writes it.
func TestObjectIsCurrent(t *testing.T) {
	source, err := os.ReadFile("relay.c")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("relay.sum")
	if err != nil {
		t.Fatal(err)
	}
	var digest, compiler string
	if _, err := fmt.Sscanf(string(text), "%s relay.c\nclang %s", &digest, &compiler); err != nil {
		t.Fatalf("relay.sum: %v", err)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(source)); got != digest {
		t.Fatalf("the object is of another relay.c: go generate ./core/offload")
	}
	version, err := exec.Command("clang", "-dumpversion").Output()
	if got := strings.TrimSpace(string(version)); err != nil || got != compiler {
		t.Skipf("MISSING: clang %s (there is %q), to compile it again", compiler, got)
	}
	if _, err := exec.LookPath("llvm-strip"); err != nil {
		t.Skip("MISSING: llvm-strip, of llvm")
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`//go:generate go (tool .* bpf2go )(.*)`).FindSubmatch(doc)
	if match == nil {
		t.Fatal("doc.go: there is no go:generate with bpf2go")
	}
	dir := t.TempDir()
	command := "go " + string(match[1]) + "-output-dir " + dir + " " + string(match[2])
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		if strings.Contains(string(out), "dial tcp") {
			t.Skipf("MISSING: bpf2go, which could not be fetched:\n%s", out)
		}
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	for _, name := range []string{"kernel_bpfel.go", "kernel_bpfel.o"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what is generated: go generate ./core/offload (%v)", name, err)
		}
	}
}
