// Package systemd checks the units of this folder: that systemd understands them, that they give away little, and, in
// a container that is really booted, that the programs work under them.
package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// units lists the files that are installed.
func units(t *testing.T) []string {
	t.Helper()
	services, err := filepath.Glob("*.service")
	if err != nil || len(services) < 3 {
		t.Fatalf("units: %q, %v", services, err)
	}
	sockets, err := filepath.Glob("*.socket")
	if err != nil || len(sockets) < 1 {
		t.Fatalf("units: %q, %v", sockets, err)
	}
	return append(services, sockets...)
}

func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("SKIPPED: %s is not installed", p)
		}
	}
}

// install makes a root folder with the units, the system's own and the programs in their places.
func install(t *testing.T, content func(unit string) []byte) string {
	t.Helper()
	root := t.TempDir()
	place := filepath.Join(root, "etc/systemd/system")
	for _, dir := range []string{place, filepath.Join(root, "usr/bin")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	targets, err := filepath.Glob("/usr/lib/systemd/system/*.target")
	if err != nil || len(targets) == 0 {
		t.Skip("SKIPPED: systemd's own units are not in /usr/lib/systemd/system")
	}
	for _, target := range targets {
		text, err := os.ReadFile(target)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(place, filepath.Base(target)), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, unit := range units(t) {
		if err := os.WriteFile(filepath.Join(place, unit), content(unit), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{"turnd", "traverse"} {
		if err := os.WriteFile(filepath.Join(root, "usr/bin", program), []byte("#!/bin/true\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func asTheyAre(t *testing.T) func(string) []byte {
	return func(unit string) []byte {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
}

// verify returns what systemd says about our units. It warns of keys that it ignores with exit code 0.
func verify(t *testing.T, root string) string {
	t.Helper()
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--root=" + root, "--man=no"}, units(t)...)...).CombinedOutput()
	var ours []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "turnd") || strings.Contains(line, "traverse") {
			ours = append(ours, line)
		}
	}
	if len(ours) == 0 && err != nil {
		t.Fatalf("systemd-analyze: %v: %s", err, out)
	}
	return strings.Join(ours, "")
}

func TestVerify(t *testing.T) {
	needs(t, "systemd-analyze")
	if said := verify(t, install(t, asTheyAre(t))); said != "" {
		t.Errorf("systemd says\n%s", said)
	}
	// The check itself: a key of somebody's invention.
	broken := install(t, func(unit string) []byte { return append(asTheyAre(t)(unit), "Invented=1\n"...) })
	if said := verify(t, broken); !strings.Contains(said, "Invented") {
		t.Errorf("an unknown key passes: %q", said)
	}
}

// The scale goes from 0, which can do nothing, to 10.
func TestExposure(t *testing.T) {
	needs(t, "systemd-analyze")
	dropIns, err := filepath.Glob("*.conf") // each by itself behind turnd's own settings
	if err != nil || len(dropIns) < 3 {
		t.Fatal(dropIns, err)
	}
	all := slices.DeleteFunc(units(t), func(unit string) bool { return filepath.Ext(unit) != ".service" })
	for _, name := range dropIns {
		more, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		unit := filepath.Join(t.TempDir(), "turnd.service")
		text := strings.Replace(string(asTheyAre(t)("turnd.service")), "[Install]", string(more)+"\n[Install]", 1)
		if err := os.WriteFile(unit, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		all = append(all, unit)
	}
	for _, unit := range all {
		if !filepath.IsAbs(unit) {
			unit = "./" + unit
		}
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit).CombinedOutput()
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Logf("%s: %s", unit, lines[len(lines)-1])
		if err != nil {
			t.Errorf("%s: %v, want at most 2.0\n%s", unit, err, out)
		}
	}
}
