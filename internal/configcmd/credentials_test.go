package configcmd

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestCredentials(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED: Windows has no modes")
	}
	from, into := t.TempDir(), t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(from, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	users, open, cert := file("users", "u:p\n", 0o600), file("open", "x", 0o644), file("cert", "c", 0o644)
	credentials := func(args ...string) (said string, err error) {
		var out bytes.Buffer
		cmd := Credentials("turnd", &out)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs(append([]string{"--into", into}, args...))
		err = cmd.Execute()
		return out.String(), err
	}
	all := []string{"users=" + users, "open=" + open, "none=" + filepath.Join(from, "none"), "--public", "cert.pem=" + cert}
	for range 2 { // a reload copies over the copies of the start
		said, err := credentials(all...)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(said, "error: "+open+" is open to others") || !strings.Contains(said, "try:   chmod 600 "+open) || strings.Count(said, "error:") != 1 {
			t.Errorf("it said\n%s", said)
		}
	}
	for name, want := range map[string]struct {
		content string
		mode    os.FileMode
	}{"users": {"u:p\n", 0o400}, "open": {"x", 0o444}, "none": {"", 0o400}, "cert.pem": {"c", 0o400}} {
		path := filepath.Join(into, name)
		content, err := os.ReadFile(path)
		info, statErr := os.Stat(path)
		if err != nil || statErr != nil || string(content) != want.content || info.Mode().Perm() != want.mode {
			t.Errorf("%s: %q, %v, %v", name, content, err, info)
		}
	}
	if left, err := os.ReadDir(into); err != nil || len(left) != 4 {
		t.Errorf("left is %v, %v", left, err)
	}
	for _, wrong := range [][]string{{"users"}, {"a/b=" + users}, {"users="}, {"..=" + users}, {"--public", "x"}} {
		if _, err := credentials(wrong...); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
}
