// Package k8s checks what the manifests hand to the programs. The manifests themselves are checked in check, a module of
// its own.
package k8s

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"traverse.internal/config"
	"traverse.internal/internal/secretfile"
)

func TestConfigurationsAreRight(t *testing.T) {
	for file, check := range map[string]func(config.Config) bool{
		"base/turnd.toml": func(c config.Config) bool { return c.Log.Format == "json" && c.Turnd.ListenUDP[0].Port() == 3478 },
		"overlays/balanced/turnd.toml": func(c config.Config) bool {
			policy, err := os.ReadFile("overlays/balanced/kustomization.yaml")
			ports := fmt.Sprintf("port: %d, endPort: %d", c.Turnd.PortRange.First, c.Turnd.PortRange.Last)
			return err == nil && strings.Count(string(policy), ports) == 2 && c.Turnd.FollowFiles && c.Turnd.DrainGrace == 5*time.Minute
		},
		"base/node.toml": func(c config.Config) bool {
			return c.Node.Listen[0].Port() == 17000 && c.DHT.Listen.Port() == 17001 && c.Metrics.Listen == ":9641"
		},
	} {
		c, err := config.Load(file, nil, nil)
		if err != nil || !check(c) {
			t.Errorf("%s: %+v, %v", file, c, err)
		}
	}
	// turnd opens 16,384 ports by default: those that the policy opens.
	policy, err := os.ReadFile("base/network.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ports := config.Default().Turnd.PortRange
	if ports.First != 49152 || ports.Last != 65535 || strings.Count(string(policy), "port: 49152, endPort: 65535") != 2 {
		t.Errorf("the policy opens other ports than %v", ports)
	}
}

// The users that are in the repository are none.
func TestNobodyIsAUser(t *testing.T) {
	text, err := os.ReadFile("base/users")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			t.Errorf("base/users has the line %q", line)
		}
	}
	private := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(private, text, 0o400); err != nil { // as defaultMode makes it
		t.Fatal(err)
	}
	f, err := secretfile.Open(private)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestImageIsSmall(t *testing.T) {
	text, err := os.ReadFile("Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			steps = append(steps, line)
		}
	}
	if steps[0] != "FROM scratch" || !slices.Contains(steps, "COPY turnd traverse /usr/bin/") || !regexp.MustCompile(`(?m)^USER [1-9]\d*:[1-9]\d*$`).Match(text) {
		t.Errorf("the image is\n%s", text)
	}
	if testing.Short() {
		t.Skip("SKIPPED: -short")
	}
	// What goes into it runs without a loader and without libraries.
	dir := t.TempDir()
	for program, pkg := range map[string]string{"turnd": "../../cmd/turnd", "traverse": "../../cmd/node"} {
		path := filepath.Join(dir, program)
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", path, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		f, err := elf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s wants a loader", program)
			}
		}
		f.Close()
	}
}
