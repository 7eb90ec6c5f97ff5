package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"traverse.internal/identity"
)

// TestResultsAlone: what a command is run for is on stdout, alone, so that a script can take it with $(…); talk is on stderr, and
// with --json there is one object and no talk.
func TestResultsAlone(t *testing.T) {
	home := t.TempDir()
	env := []string{"XDG_RUNTIME_DIR=" + t.TempDir()}
	anID := func(out string) bool {
		_, err := identity.ParseDeviceID(strings.TrimSuffix(out, "\n"))
		return err == nil && strings.Count(out, "\n") == 1
	}
	aConfig := func(out string) bool { // that the program takes
		path := filepath.Join(t.TempDir(), "traverse.toml")
		var said bytes.Buffer
		if err := os.WriteFile(path, []byte(out), 0o600); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(out, "schema = 1\n") && run(t.Context(), []string{"--home", home, "config", "check", "--config", path}, env, &said, &said) == 0
	}
	for _, c := range []struct {
		args  []string
		right func(stdout string) bool
		talks bool // without --json
	}{
		{[]string{"init", "--name", "laptop", "--if-missing"}, anID, true},
		{[]string{"id"}, anID, false},
		{[]string{"id", "show"}, anID, false},
		{[]string{"config", "path"}, func(out string) bool { return out == filepath.Join(home, "traverse.toml")+"\n" }, false},
		{[]string{"config", "show"}, aConfig, false},
		{[]string{"config", "init", "--stdout"}, aConfig, false},
		{[]string{"config", "check"}, func(out string) bool { return strings.HasPrefix(out, "ok: ") && strings.Count(out, "\n") == 1 }, false},
		{[]string{"version"}, func(out string) bool { return strings.HasPrefix(out, "node ") }, false},
		{[]string{"api", "spec"}, func(out string) bool { return json.Valid([]byte(out)) }, false},
		{[]string{"completion", "bash"}, func(out string) bool { return strings.Contains(out, "complete -") }, false},
	} {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), append([]string{"--home", home}, c.args...), env, &out, &errOut); code != 0 {
			t.Errorf("%q: exit code %d: %s", c.args, code, errOut.String())
			continue
		}
		if !c.right(out.String()) {
			t.Errorf("%q printed %q", c.args, out.String())
		}
		if (errOut.Len() > 0) != c.talks {
			t.Errorf("%q says %q", c.args, errOut.String())
		}
		if strings.HasPrefix(c.args[0], "c") && c.args[1] != "path" && c.args[1] != "check" || c.args[0] == "api" {
			continue // these are a file, with --json too
		}
		out.Reset()
		errOut.Reset()
		if code := run(t.Context(), append([]string{"--home", home, "--json"}, c.args...), env, &out, &errOut); code != 0 || !json.Valid(out.Bytes()) || errOut.Len() > 0 {
			t.Errorf("%q --json: exit code %d, %q and %q; want one object alone", c.args, code, out.String(), errOut.String())
		}
	}
}
