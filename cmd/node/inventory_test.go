package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// unscripted are the commands that no script runs, and what runs them instead.
var unscripted = map[string]string{}

// asNode finds the arguments of node in a line of a script: behind the program's name, behind `exit CODE`, and behind `sees PATTERN`.
var asNode = regexp.MustCompile(`(?:\bnode|^exit \d+|^!? ?sees (?:'[^']*'|\S+)) +(.*)`)

// TestEveryCommandHasAScript: each command is typed in a script of testdata/script, or stands above with a reason.
func TestEveryCommandHasAScript(t *testing.T) {
	root := (&app{stdout: io.Discard, stderr: io.Discard}).root()
	typed := map[string]bool{}
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range scripts {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "-- ") {
				break // the script's files
			}
			m := asNode.FindStringSubmatch(strings.TrimSpace(line))
			if m == nil || strings.HasPrefix(line, "#") {
				continue
			}
			var args []string
			for _, word := range strings.Fields(m[1]) {
				args = append(args, strings.Trim(word, `'"`))
			}
			if cmd, _, err := root.Find(args); err == nil {
				typed[cmd.CommandPath()] = true
			}
		}
	}
	all := map[string]bool{}
	for _, cmd := range leaves(root) {
		path := cmd.CommandPath()
		all[path] = true
		if reason := unscripted[path]; typed[path] == (reason != "") {
			t.Errorf("%s: typed in a script: %v; listed as without one: %q", path, typed[path], reason)
		}
	}
	for path := range unscripted {
		if !all[path] {
			t.Errorf("there is no command %s", path)
		}
	}
}
