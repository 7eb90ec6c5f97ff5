package metrics

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// perProgram are the sources that each program has: a node's without a relay inside.
func perProgram() map[string]Sources {
	all := everything()
	node := all // a new source is the node's, unless it is named here
	node.Program, node.Version, node.Turnd, node.Mint, node.ACME = "node", "v0", nil, nil, nil
	return map[string]Sources{
		"node":  node,
		"turnd": {Program: "turnd", Version: "v0", Turnd: all.Turnd, Mint: all.Mint, ACME: all.ACME},
	}
}

// varies is what no two builds and looks have in common.
var varies = regexp.MustCompile(`(?m)(goversion|revision)="[^"]*"|^(cert_expiry_seconds\S*) .*$`)

// TestPages: the whole page of each program, byte by byte, runtime's metrics apart. Dashboards and alerts are held against
// these pages (deploy/prometheus).
func TestPages(t *testing.T) {
	for program, src := range perProgram() {
		r := prometheus.NewPedanticRegistry()
		if setup := src.register(r); setup != nil {
			setup.WithLabelValues("direct").Observe(0.05)
		}
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var page strings.Builder
		for _, f := range families {
			if runtimes(f.GetName()) {
				continue
			}
			if _, err := expfmt.MetricFamilyToText(&page, f); err != nil {
				t.Fatal(err)
			}
		}
		got := varies.ReplaceAllStringFunc(page.String(), func(s string) string {
			if label, _, ok := strings.Cut(s, "="); ok && !strings.Contains(label, " ") {
				return label + `="…"`
			}
			name, _, _ := strings.Cut(s, " ")
			return name + " 0"
		})
		path := filepath.Join("testdata", program+".metrics")
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s has changed; it is\n%s\nA changed name or label is a line in CHANGELOG.md; then: go test ./metrics -update", path, got)
		}
	}
}
