// Package prometheus_test checks what operators load into Prometheus and Grafana against what the programs serve.
package prometheus_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const rulesFile = "traverse.rules.yml"

// A rule is a record or an alert of the rules file.
type rule struct {
	Record, Alert, Expr string
	Annotations         map[string]string
}

func readRules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct{ Rules []rule }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var rules []rule
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	return rules
}

// page reads the golden page of a program, which a test of package metrics holds against what is served: the names on it.
func page(t *testing.T, program string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../../metrics/testdata/" + program + ".metrics")
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, line := range regexp.MustCompile(`(?m)^([a-z0-9_]+)[{ ]`).FindAllStringSubmatch(string(text), -1) {
		names[line[1]] = true
	}
	if len(names) < 15 {
		t.Fatalf("the page of %s has %d names, it was not understood", program, len(names))
	}
	return names
}

// TestPagesAreTheTable: what the two programs serve together is what docs/metrics.md lists, so that whoever goes by either is
// right.
func TestPagesAreTheTable(t *testing.T) {
	names, node, turnd := served(t), page(t, "node"), page(t, "turnd")
	for name := range names {
		if names[name+"_bucket"] == nil && !node[name] && !turnd[name] {
			t.Errorf("%s is on neither page", name)
		}
	}
	for _, page := range []map[string]bool{node, turnd} {
		for name := range page {
			if _, ok := names[name]; !ok {
				t.Errorf("%s is not in docs/metrics.md", name)
			}
		}
	}
}

// served reads docs/metrics.md, which a test of package metrics holds against /metrics: the labels of each name.
func served(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string][]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| (\\w+) \\| ([^|]*)\\|").FindAllStringSubmatch(string(text), -1) {
		labels := strings.FieldsFunc(row[3], func(r rune) bool { return r == ',' || r == ' ' })
		names[row[1]] = labels
		if row[2] == "histogram" {
			names[row[1]+"_bucket"] = append(slices.Clone(labels), "le")
			names[row[1]+"_sum"], names[row[1]+"_count"] = labels, labels
		}
	}
	if len(names) < 50 {
		t.Fatalf("docs/metrics.md has %d names, the table was not understood", len(names))
	}
	return names
}

var (
	comment  = regexp.MustCompile(`#.*`)
	grouping = regexp.MustCompile(`\b(?:by|without|ignoring|on)\s*\(([^)]*)\)`)
	series   = regexp.MustCompile(`\b([a-z][a-z0-9_]*(?::[a-z0-9_:]+)?)\s*(\{[^}]*\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)\s*"`)
	words    = strings.Fields("sum rate increase changes histogram_quantile time and or unless by without ignoring on count min max topk label_values s m h d")
	scraped  = strings.Fields("job instance") // labels that the scraper adds
)

// check reports what an expression names that is not served. It is no parser of PromQL, promtool is; it looks at
// names and at labels in braces and groupings.
func check(t *testing.T, where, expr string, names map[string][]string) {
	t.Helper()
	expr = comment.ReplaceAllString(expr, "")
	var grouped []string
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		grouped = append(grouped, strings.FieldsFunc(g[1], func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	bare := grouping.ReplaceAllString(expr, " ")
	bare = regexp.MustCompile(`\[[^\]]*\]|\$\w+`).ReplaceAllString(bare, " ")
	found := false
	known := slices.Clone(scraped)
	for _, s := range series.FindAllStringSubmatch(bare, -1) {
		name := s[1]
		if slices.Contains(words, name) {
			continue
		}
		if strings.HasPrefix(name, "process_") || strings.HasPrefix(name, "go_") || name == "up" {
			found = true
			continue
		}
		labels, ok := names[name]
		if !ok {
			if name == "instance" || name == "job" {
				continue
			}
			t.Errorf("%s: no program serves %s", where, name)
			continue
		}
		found = true
		known = append(known, labels...)
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			if !slices.Contains(labels, m[1]) && !slices.Contains(scraped, m[1]) {
				t.Errorf("%s: %s has no label %s", where, name, m[1])
			}
		}
	}
	if !found {
		t.Errorf("%s: no metric was found in %q", where, expr)
	}
	for _, label := range grouped {
		if !slices.Contains(known, label) {
			t.Errorf("%s: grouping by %s, which none of its metrics has", where, label)
		}
	}
}

// TestRulesNameWhatIsServed also wants a paragraph in docs/incidents.md for each alert.
func TestRulesNameWhatIsServed(t *testing.T) {
	names := served(t)
	rules := readRules(t)
	for _, r := range rules {
		if r.Record != "" {
			names[r.Record] = strings.Fields("kind reason dir job instance") // what is left; promtool tests the rest
		}
	}
	incidents, err := os.ReadFile("../../docs/incidents.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		check(t, r.Record+r.Alert, r.Expr, names)
		if r.Alert == "" {
			continue
		}
		file, heading, _ := strings.Cut(r.Annotations["runbook"], "#")
		if file != "docs/incidents.md" || !strings.Contains(strings.ToLower(string(incidents)), "\n### "+heading+"\n") {
			t.Errorf("%s: no heading %q in %s", r.Alert, heading, file)
		}
	}
}

// TestDashboardsNameWhatIsServed: a panel over a metric that does not exist is an empty panel, found by nobody.
func TestDashboardsNameWhatIsServed(t *testing.T) {
	all := served(t)
	for _, r := range readRules(t) {
		if r.Record != "" {
			all[r.Record] = nil
		}
	}
	files, err := filepath.Glob("../grafana/*.json")
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	uids := make(map[string]bool)
	for _, file := range files {
		own := page(t, strings.TrimSuffix(filepath.Base(file), ".json"))
		names := maps.Clone(all)
		maps.DeleteFunc(names, func(name string, _ []string) bool { // the other program's
			return !own[name] && !strings.Contains(name, ":")
		})
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var board struct {
			UID    string
			Title  string
			Panels []struct {
				ID      int
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(text, &board); err != nil {
			t.Fatal(file, err)
		}
		if board.UID == "" || uids[board.UID] || len(board.Panels) < 10 {
			t.Errorf("%s: uid %q, %d panels", file, board.UID, len(board.Panels))
		}
		uids[board.UID] = true
		ids := make(map[int]bool)
		for _, p := range board.Panels {
			if ids[p.ID] || len(p.Targets) == 0 {
				t.Errorf("%s: panel %q has an id twice, or nothing to show", file, p.Title)
			}
			ids[p.ID] = true
			for _, target := range p.Targets {
				check(t, filepath.Base(file)+": "+p.Title, target.Expr, names)
			}
		}
	}
}

// TestCheckSees: the checks above are not blind.
func TestCheckSees(t *testing.T) {
	names := map[string][]string{"turnd_drops_total": {"reason"}}
	for expr, good := range map[string]bool{
		`sum by (reason) (rate(turnd_drops_total{reason!="garbage"}[5m])) > 0`: true,
		`rate(turnd_drops_totals[5m])`:                                         false,
		`turnd_drops_total{code="1"}`:                                          false,
		`sum by (dir) (turnd_drops_total)`:                                     false,
		`1 > 0`:                                                                false,
	} {
		probe := &testing.T{}
		check(probe, "probe", expr, names)
		if probe.Failed() == good {
			t.Errorf("%s: failed %t", expr, probe.Failed())
		}
	}
}

// TestPromtool: the rules as Prometheus reads them, and each alert once where it must fire and once where it must not.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("SKIPPED: promtool is not installed (Debian: prometheus)")
	}
	for _, args := range [][]string{{"check", "rules", rulesFile}, {"test", "rules", "traverse.rules_test.yml"}} {
		if out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	tests, err := os.ReadFile("traverse.rules_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range readRules(t) {
		if r.Alert != "" && !strings.Contains(string(tests), `alertname="`+r.Alert+`"`) {
			t.Errorf("%s has no test in which it fires", r.Alert)
		}
	}
}
