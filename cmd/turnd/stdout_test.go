package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestResultsAlone: what a command is run for is on stdout, alone, so that a script can take it with $(…); talk and warnings are on
// stderr, and with --json there is one object.
func TestResultsAlone(t *testing.T) {
	dir := t.TempDir()
	users, coturn := filepath.Join(dir, "users"), filepath.Join(dir, "turnserver.conf")
	for path, text := range map[string]string{users: "", coturn: "realm=example.org\nuser=anna:secret\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args  []string
		right func(stdout string) bool
		talks bool
		json  bool // there is an object, too
	}{
		{[]string{"user", "add", "anna", "--users-file", users, "--generate"}, func(out string) bool {
			return strings.Count(out, "\n") == 1 && !strings.Contains(strings.TrimSuffix(out, "\n"), " ") && len(out) > 16
		}, true, false},
		{[]string{"user", "ls", "--users-file", users}, func(out string) bool { return out == "anna\n" }, false, true},
		{[]string{"user", "rm", "anna", "--users-file", users}, func(out string) bool { return out == "" }, true, false},
		{[]string{"config", "path", "--home", dir}, func(out string) bool { return out == filepath.Join(dir, "traverse.toml")+"\n" }, false, true},
		{[]string{"config", "show", "--relay-ip4", "127.0.0.1"}, func(out string) bool { return strings.Contains(out, "schema = 1\n") }, false, false},
		{[]string{"config", "check", "--home", dir, "--relay-ip4", "127.0.0.1"}, func(out string) bool {
			return strings.HasPrefix(out, "ok: ") && strings.Count(out, "\n") == 1
		}, true, true},
		{[]string{"config", "from-coturn", coturn}, func(out string) bool { return strings.Contains(out, "realm = \"example.org\"") }, true, false},
		{[]string{"version"}, func(out string) bool { return strings.HasPrefix(out, "turnd ") }, false, true},
	} {
		exit, out, errOut := command(t, c.args...)
		if exit != 0 {
			t.Errorf("%q: exit code %d: %s", c.args, exit, errOut)
			continue
		}
		if !c.right(out) {
			t.Errorf("%q printed %q", c.args, out)
		}
		if (errOut != "") != c.talks {
			t.Errorf("%q says %q", c.args, errOut)
		}
		if !c.json {
			continue
		}
		if exit, out, errOut := command(t, append(c.args, "--json")...); exit != 0 || !json.Valid([]byte(out)) || errOut != "" {
			t.Errorf("%q --json: exit code %d, %q and %q; want one object alone", c.args, exit, out, errOut)
		}
	}
}
