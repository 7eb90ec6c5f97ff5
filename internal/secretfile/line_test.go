package secretfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"traverse.internal/internal/cli"
)

func TestLine(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name, content string
		mode          os.FileMode
		want          string // "": an error
	}{
		{"with an end", "pass word\n", 0o600, "pass word"},
		{"without an end", "p", 0o400, "p"},
		{"of a Windows editor", "p\r\n", 0o600, "p"},
		{"spaces are the password's", " p ", 0o600, " p "},
		{"as long as may be", strings.Repeat("x", maxLine), 0o600, strings.Repeat("x", maxLine)},
		{"open to others", "x\n", 0o644, ""},
		{"empty", "", 0o600, ""},
		{"an empty line", "\n", 0o600, ""},
		{"an empty line before", "\nsecret\n", 0o600, ""},
		{"two lines", "secret\nb\n", 0o600, ""},
		{"too long", strings.Repeat("x", maxLine+1), 0o600, ""},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-"))
		if err := os.WriteFile(path, []byte(c.content), c.mode); err != nil {
			t.Fatal(err)
		}
		got, err := Line(path)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: got %q, %v", c.name, got, err)
		}
		var e *cli.Error
		if err != nil && (!errors.As(err, &e) || e.Code != "E_CONFIG" || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := Line(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) && !strings.Contains(err.Error(), "no such file") {
		t.Errorf("missing: %v", err)
	}
}
