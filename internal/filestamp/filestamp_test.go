package filestamp

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSame(t *testing.T) {
	dir := t.TempDir()
	path, other, link := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "link")
	when := time.Unix(1_700_000_000, 0)
	write := func(path, content string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	point := func(at string) {
		t.Helper()
		_ = os.Remove(link)
		if err := os.Symlink(at, link); err != nil {
			t.Fatal(err)
		}
	}
	write(path, "one", when)
	write(other, "two", when)
	point(path)
	before := Of(link)
	for _, c := range []struct {
		name   string
		change func()
		same   bool
	}{
		{"looked at again", func() {}, true},
		{"written at the same length", func() { write(path, "ein", when.Add(time.Second)) }, false},
		{"another length, the same time", func() { write(path, "three", when) }, false},
		{"as it was", func() { write(path, "one", when) }, true},
		{"the link leads to another file of the same size and time", func() { point(other) }, false},
		{"gone", func() { _ = os.Remove(link) }, false},
	} {
		c.change()
		if got := Of(link).Same(before); got != c.same {
			t.Errorf("%s: same is %v, want %v", c.name, got, c.same)
		}
	}
	if !Of(link).Same(Stamp{}) {
		t.Error("two that are not there differ")
	}
	if all := All(path, link); len(all) != 2 || !all[0].Same(before) || !all[1].Same(Stamp{}) {
		t.Errorf("all: %v", all)
	}
}
