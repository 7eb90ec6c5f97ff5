package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName = regexp.MustCompile("`([a-z/]+)`|(Test[A-Za-z0-9]+)|([a-z-]+\\.txtar)")
	testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
)

// TestScenariosHaveTests: every test that docs/scenarios.md names is there, and every scenario names one.
func TestScenariosHaveTests(t *testing.T) {
	const root = "../.."
	page, err := os.ReadFile(root + "/docs/scenarios.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]map[string]bool{}
	declared := func(pkg string) map[string]bool {
		if known[pkg] != nil {
			return known[pkg]
		}
		known[pkg] = map[string]bool{}
		files, _ := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
		for _, path := range files {
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range testFunc.FindAllSubmatch(source, -1) {
				known[pkg][string(m[1])] = true
			}
		}
		return known[pkg]
	}
	rows := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 4 || strings.TrimSpace(cells[1]) == "scenario" || strings.HasPrefix(cells[1], "---") {
			continue
		}
		rows++
		pkg, named := "", 0
		for _, m := range testName.FindAllStringSubmatch(cells[2], -1) {
			switch {
			case m[1] != "":
				pkg = m[1]
			case m[3] != "":
				named++
				if _, err := os.Stat(root + "/cmd/node/testdata/script/" + m[3]); err != nil {
					t.Errorf("%s: there is no script %s", strings.TrimSpace(cells[1]), m[3])
				}
			default:
				named++
				if !declared(pkg)[m[2]] {
					t.Errorf("%s: package %q has no %s", strings.TrimSpace(cells[1]), pkg, m[2])
				}
			}
		}
		if named == 0 {
			t.Errorf("%s: no test", strings.TrimSpace(cells[1]))
		}
	}
	if rows < 50 {
		t.Errorf("%d scenarios, want 50 at least", rows)
	}
}
