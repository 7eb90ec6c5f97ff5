package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSigned: what docs/operations.md says to verify a release with takes the right signature and no other.
func TestSigned(t *testing.T) {
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("SKIPPED: ssh-keygen is not installed")
	}
	dir := t.TempDir()
	key := func(name string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return path
	}
	ours, theirs := key("ours"), key("theirs")
	signers := filepath.Join(dir, "signers")
	if err := os.WriteFile(signers, []byte(signedBy+" "+read(t, ours+".pub")), 0o600); err != nil {
		t.Fatal(err)
	}
	sums := filepath.Join(dir, sumsFile)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(sums, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The line of the page, in a shell, as somebody would type it.
	page := read(t, "../../docs/operations.md")
	_, rest, _ := strings.Cut(page, "ssh-keygen -Y verify")
	line, _, _ := strings.Cut("ssh-keygen -Y verify"+rest, "\n")
	if !strings.Contains(line, signedAs) || !strings.Contains(line, signature) {
		t.Fatalf("docs/operations.md says %q", line)
	}
	verify := func() error {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
		cmd.Dir = dir
		return cmd.Run()
	}
	var out bytes.Buffer
	r := &release{dist: dir, key: ours, out: &out}
	write("one\n")
	var signatures []string
	for range 2 {
		if err := r.sign(t.Context()); err != nil {
			t.Fatal(err)
		}
		signatures = append(signatures, read(t, sums+".sig"))
	}
	if signatures[0] != signatures[1] {
		t.Error("two signatures of the same bytes differ")
	}
	if err := verify(); err != nil {
		t.Errorf("the right one: %v", err)
	}
	write("two\n")
	if verify() == nil {
		t.Error("other checksums pass")
	}
	r.key = theirs
	if err := r.sign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if verify() == nil {
		t.Error("another's key passes")
	}
	r.key = ""
	out.Reset()
	if err := r.sign(t.Context()); err != nil || !strings.Contains(out.String(), "NOT SIGNED") {
		t.Errorf("without a key: %v, %q", err, out.String())
	}
	if err := run(t.Context(), []string{"-key", filepath.Join(dir, "none")}, &out); err == nil {
		t.Error("a key that is not there is found out after everything was built")
	}
}
