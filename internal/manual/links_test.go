package manual

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

var (
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```")
	// What an anchor leaves out of its heading, as GitHub makes them.
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
)

// pages lists every page of the repository, by its path from the root.
func pages(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch entry.Name() {
		case ".git", "bin", "dist", "node_modules":
			return filepath.SkipDir
		}
		if filepath.Ext(name) == ".md" {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		found[strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return found
}

func TestLinksLeadSomewhere(t *testing.T) {
	checked := 0
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, page), ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			checked++
			target, anchor, _ := strings.Cut(m[1], "#")
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", page, m[1])
				continue
			}
			if anchor != "" && filepath.Ext(file) == ".md" && !anchors(read(t, file))[anchor] {
				t.Errorf("%s: %s has no heading for #%s", page, file, anchor)
			}
		}
	}
	if checked == 0 {
		t.Error("no link was found, which cannot be")
	}
}

// The index names every page beside it, and the front page names the index.
func TestIndexIsWhole(t *testing.T) {
	index := read(t, root+"/docs/README.md")
	names, err := filepath.Glob(root + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if base := filepath.Base(name); base != "README.md" && !strings.Contains(index, "("+base+")") {
			t.Errorf("docs/README.md does not name %s", base)
		}
	}
	if !strings.Contains(read(t, root+"/README.md"), "(docs/README.md)") {
		t.Error("README.md does not name docs/README.md")
	}
}

// What CONTRIBUTING.md says of make is what the Makefile has.
func TestMakeTargetsAreWritten(t *testing.T) {
	table := read(t, root+"/CONTRIBUTING.md")
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z0-9-]+):`).FindAllStringSubmatch(read(t, root+"/Makefile"), -1) {
		targets[m[1]] = true
		if !strings.Contains(table, "`make "+m[1]+"`") {
			t.Errorf("CONTRIBUTING.md does not name `make %s`", m[1])
		}
	}
	for _, m := range regexp.MustCompile("`make ([a-z0-9-]+)").FindAllStringSubmatch(table, -1) {
		if !targets[m[1]] {
			t.Errorf("CONTRIBUTING.md names `make %s`, which the Makefile does not have", m[1])
		}
	}
}

// What the pages call a command of the programs is one.
func TestCommandsExist(t *testing.T) {
	manual := map[string]string{"turnd": read(t, root+"/docs/man/turnd.1"), "traverse": read(t, root+"/docs/man/traverse.1")}
	manual["node"] = manual["traverse"]
	named := regexp.MustCompile("`(turnd|traverse|node) ([a-z]+)")
	for _, page := range []string{"README.md", "SECURITY.md", "docs/operations.md", "docs/incidents.md"} {
		for _, m := range named.FindAllStringSubmatch(read(t, root+"/"+page), -1) {
			program := strings.ReplaceAll(m[1], "node", "traverse")
			if m[2] != "help" && !strings.Contains(manual[m[1]], ".SS \""+program+" "+m[2]) {
				t.Errorf("%s: there is no %s %s", page, m[1], m[2])
			}
		}
	}
}
