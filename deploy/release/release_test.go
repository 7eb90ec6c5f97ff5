package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRepeatable: two clones in different places, built one after the other, have the same bytes in all that is
// released; and what is released is what it says.
func TestRepeatable(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: -short; builds both programs")
	}
	if out, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "rev-parse", "HEAD").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: not in a git repository: %s", bytes.TrimSpace(out))
	}
	var dists []string
	for _, name := range []string{"one", "another/place"} {
		clone := filepath.Join(t.TempDir(), name)
		if out, err := exec.CommandContext(t.Context(), "git", "clone", "--quiet", "../..", clone).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		dist := filepath.Join(t.TempDir(), "dist")
		if err := run(t.Context(), []string{"-source", clone, "-dist", dist, "-targets", "linux/amd64", "-version", "1.2.3"}, io.Discard); err != nil {
			t.Fatal(err)
		}
		dists = append(dists, dist)
	}
	first, second := read(t, dists[0], sumsFile), read(t, dists[1], sumsFile)
	if first != second {
		t.Errorf("two builds differ:\n%s\n%s", first, second)
	}
	names := regexp.MustCompile(`  (\S+)\n`).FindAllStringSubmatch(first, -1)
	var have []string
	for _, n := range names {
		have = append(have, n[1])
	}
	want := []string{
		"traverse-1.2.3-1.x86_64.rpm", "traverse_1.2.3_amd64.deb", "traverse_1.2.3_linux_amd64.cdx.json",
		"traverse_1.2.3_linux_amd64.tar.gz", "traverse_1.2.3_oci.tar", "turnd_1.2.3_linux_amd64.cdx.json",
	}
	if !slices.Equal(have, want) {
		t.Errorf("released were %q, want %q", have, want)
	}
	billed(t, read(t, dists[0], "turnd_1.2.3_linux_amd64.cdx.json"))
	imaged(t, filepath.Join(dists[0], "traverse_1.2.3_oci.tar"))

	// A second run takes the place of the first, and of nothing else.
	foreign := filepath.Join(t.TempDir(), "mine")
	if err := os.MkdirAll(filepath.Join(foreign, "precious"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"-dist", foreign}, io.Discard); err == nil {
		t.Error("a folder with somebody's files was taken")
	}
	if _, err := os.Stat(filepath.Join(foreign, "precious")); err != nil {
		t.Error(err)
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// billed: every module that turnd was linked with is in its bill.
func billed(t *testing.T, text string) {
	t.Helper()
	var b bom
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "-C", "../..", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}@{{.Version}}{{end}}{{end}}", "./cmd/turnd").Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := strings.Fields(string(out))
	slices.Sort(linked)
	linked = slices.Compact(linked)
	var in []string
	for _, c := range b.Components {
		in = append(in, c.Name+"@"+c.Version)
	}
	slices.Sort(in)
	if !slices.Equal(in, linked) {
		t.Errorf("the bill has %d modules, the program %d:\n%q\n%q", len(in), len(linked), in, linked)
	}
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(b.Serial) {
		t.Errorf("serial number %q", b.Serial)
	}
}

// imaged: the image is what deploy/k8s/Containerfile builds.
func imaged(t *testing.T, archive string) {
	t.Helper()
	blobs := make(map[string][]byte)
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if blobs[h.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
	digest := func(d string) string { return "blobs/" + strings.Replace(d, ":", "/", 1) }
	var index struct{ Manifests []struct{ Digest string } }
	var manifest struct {
		Config struct{ Digest string }
		Layers []struct{ Digest string }
	}
	var config struct {
		Config struct {
			User     string
			Env, Cmd []string
		}
	}
	for _, step := range []struct {
		name func() string
		into any
	}{
		{func() string { return "index.json" }, &index},
		{func() string { return digest(index.Manifests[0].Digest) }, &manifest},
		{func() string { return digest(manifest.Config.Digest) }, &config},
	} {
		if err := json.Unmarshal(blobs[step.name()], step.into); err != nil {
			t.Fatalf("%s: %v", step.name(), err)
		}
	}
	if len(manifest.Layers) != 1 {
		t.Errorf("%d layers, want the programs' alone", len(manifest.Layers))
	}
	containerfile := read(t, "../k8s/Containerfile")
	var cmd []string
	for line := range strings.Lines(containerfile) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "USER":
			if rest != config.Config.User {
				t.Errorf("the image's user is %s, the Containerfile's %s", config.Config.User, rest)
			}
		case "ENV":
			if !slices.Equal(strings.Fields(rest), config.Config.Env) {
				t.Errorf("the image's environment is %q, the Containerfile's %s", config.Config.Env, rest)
			}
		case "CMD":
			if err := json.Unmarshal([]byte(rest), &cmd); err != nil || !slices.Equal(cmd, config.Config.Cmd) {
				t.Errorf("the image's command is %q, the Containerfile's %s", config.Config.Cmd, rest)
			}
		}
	}
	if cmd == nil {
		t.Error("the Containerfile was not understood")
	}
}

// TestArguments: a mistake is found before anything is built or removed.
func TestArguments(t *testing.T) {
	for _, args := range [][]string{{"-targets", "linux/amd64,plan9/mips"}, {"extra"}, {"-formats", "msi"}, {"-source", t.TempDir()}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

// TestScripts: sh can read what packages run as root.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("scripts/*")
	if err != nil || len(scripts) != 6 {
		t.Fatal(scripts, err)
	}
	for _, s := range scripts {
		if out, err := exec.CommandContext(t.Context(), "sh", "-n", s).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", s, err, out)
		}
	}
}
