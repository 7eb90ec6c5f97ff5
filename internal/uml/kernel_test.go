package uml_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"traverse.internal/internal/uml"

	// What the suites test, so that go test does not remember a result from before a change.
	_ "traverse.internal/core/ktls"
	_ "traverse.internal/core/mux"
	_ "traverse.internal/core/tls"
	_ "traverse.internal/transfer"
	_ "traverse.internal/turn"
)

// suites are the tests that are run again on a kernel with TLS, without those of vectors, whose files are not there. A test that
// needs the kernel must not skip.
var suites = []struct{ name, pkg, run string }{
	{"ktls", "./core/ktls", "."},
	{"tls", "./core/tls", "."},
	{"mux", "./core/mux", "TLS|ReadFrom|File"},
	{"transfer", "./transfer", "OverTLS"},
	{"turn", "./turn", "TLSData|TLSClient|TLSRelays|TLSPush"},
}

// TestKernelTLS boots a kernel with TLS and runs the suites in it.
func TestKernelTLS(t *testing.T) {
	if missing := uml.Missing(); missing != "" {
		t.Skipf("KERNEL TLS IS NOT TESTED: no %s", missing)
	}
	dir := t.TempDir()
	initPath := filepath.Join(dir, "init")
	build(t, "build", "-o", initPath, "./internal/uml/init")
	var programs []uml.Program
	for _, s := range suites {
		look(t, s.pkg)
		path := filepath.Join(dir, s.name)
		build(t, "test", "-c", "-o", path, s.pkg)
		programs = append(programs, uml.Program{
			Name: s.name, Path: path,
			Args: []string{"-test.v", "-test.run=" + s.run, "-test.skip=Vectors", "-test.timeout=300s", "-test.short"},
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	results, err := uml.Run(ctx, dir, initPath, programs)
	if errors.Is(err, uml.ErrNotBooted) {
		t.Skipf("KERNEL TLS IS NOT TESTED: %v", err)
	}
	if err != nil {
		t.Error(err)
	}
	for _, s := range suites {
		t.Run(s.name, func(t *testing.T) {
			r := results[s.name]
			switch {
			case r == nil:
				t.Fatal("was not begun")
			case !r.Ran:
				t.Errorf("the kernel ended before the tests did:\n%s", r.Output)
			case !r.Passed:
				t.Error(failures(r.Output))
			default:
				t.Logf("%d tests passed, %d skipped", strings.Count(r.Output, "--- PASS"), strings.Count(r.Output, "--- SKIP"))
				for line := range strings.Lines(r.Output) {
					if strings.Contains(line, "measured") || strings.Contains(line, "--- SKIP") {
						t.Log(strings.TrimSpace(line))
					}
				}
			}
		})
	}
}

// failures is the output without the tests that passed.
func failures(out string) string {
	var kept []string
	for line := range strings.Lines(out) {
		word := strings.TrimSpace(line)
		if strings.HasPrefix(word, "=== ") || strings.HasPrefix(word, "--- PASS") {
			continue
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "")
}

func build(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// look tells go test that the result depends on a package's tests.
func look(t *testing.T, pkg string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", pkg, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no files, %v", pkg, err)
	}
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			t.Fatal(err)
		}
	}
}
