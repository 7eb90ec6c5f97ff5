package reason_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryReasonIsProduced: each word of the list is what some test of another package expects, so that none is promised and never said.
func TestEveryReasonIsProduced(t *testing.T) {
	list, err := os.ReadFile("reason.go")
	if err != nil {
		t.Fatal(err)
	}
	expected := map[string]*regexp.Regexp{}
	for _, m := range regexp.MustCompile(`(?m)^\t(\w+) +Code = "(\w+)"`).FindAllStringSubmatch(string(list), -1) {
		expected[m[2]] = regexp.MustCompile(`\breason\.` + m[1] + `\b|\b` + m[2] + `\b`)
	}
	if len(expected) < 20 {
		t.Fatalf("only %d words found", len(expected))
	}
	err = filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2 || d.Name() == "dist" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(path, ".txtar") || filepath.Base(filepath.Dir(path)) == "reason" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for word, in := range expected {
			if in.Match(text) {
				delete(expected, word)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for word := range expected {
		t.Errorf("no test expects %s", word)
	}
}
