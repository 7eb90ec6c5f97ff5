package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/config.md")

// TestDocsAreCurrent makes docs/config.md from the table of keys. `go test ./config -update` writes it.
func TestDocsAreCurrent(t *testing.T) {
	const page = "../docs/config.md"
	var want bytes.Buffer
	want.WriteString(docsHead)
	section := ""
	for _, k := range table {
		if s := k.Name[:strings.LastIndex(k.Name, ".")]; s != section {
			section = s
			title := "[" + s + "]"
			if s == "relay" {
				title = "[[relay]]"
			}
			fmt.Fprintf(&want, "\n## %s\n\n| key | flag | variable | value | default | |\n|---|---|---|---|---|---|\n", title)
		}
		def := "empty"
		if k.Default != "" {
			def = "`" + k.Default + "`"
		}
		fmt.Fprintf(&want, "| `%s` | `--%s` (%s) | `%s` | %s | %s | %s |\n",
			k.Name, k.Flag, strings.ReplaceAll(k.Programs, " ", ", "), k.Env, k.Type, def, k.Help)
	}
	if *update {
		if err := os.WriteFile(page, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("docs/config.md does not say what the code does; run go test ./config -update")
	}
}

const docsHead = `# Configuration

Made by ` + "`go test ./config -update`" + ` from the table in config/keys.go; change it there.

One TOML file serves both programs. A later layer wins: default, file, environment, flag. Anything unknown or wrong in it
is an error that names the place; nothing is ignored. ` + "`schema = 1`" + ` may stand at the top. Paths in the file are relative to
the file, elsewhere to where the program runs. Lists are written ` + "`[\"a\", \"b\"]`" + ` in the file and ` + "`a,b`" + ` elsewhere. Sizes have
a unit: B, KiB, MiB, GiB, TiB, kB, MB, GB, TB. ` + "`--private-dht`" + ` takes no value and means ` + "`dht.mode = \"private\"`" + `.
Secrets come from files that only their owner can read (a group too, where root owns them), or by ` + "`env:NAME`" + `.
`

func TestEveryKeyIsDescribed(t *testing.T) {
	seen := map[string]string{}
	for _, k := range table {
		for what, text := range map[string]string{"name": k.Name, "flag": "--" + k.Flag, "variable": k.Env} {
			if other := seen[text]; other != "" {
				t.Errorf("%s %s is that of %s too", what, text, other)
			}
			seen[text] = k.Name
		}
		if k.Help == "" || strings.Contains(k.Help, "|") || k.Type == "" || k.Flag == "" || k.Programs == "" {
			t.Errorf("%s: incomplete: %+v", k.Name, k)
		}
	}
	if n := len(Keys("")); n != len(table) {
		t.Errorf("Keys(\"\") has %d, want all %d", n, len(table))
	}
	for _, k := range Keys("turnd") {
		if k.Name == "dht.mode" {
			t.Error("turnd has --private-dht")
		}
	}
}

// The default of every key is what Default has, as it would be written.
func TestDefaultsAreAsWritten(t *testing.T) {
	c := Default()
	for _, k := range table {
		want := k.Default
		if k.Type == "list of addresses" && strings.HasPrefix(want, ":") { // :PORT stands for both families
			want = "0.0.0.0" + want + ",[::]" + want
		}
		if got := c.Value(k.Name); got != want {
			t.Errorf("%s = %q, want %q", k.Name, got, want)
		}
	}
	if err := c.check(); err != nil {
		t.Errorf("the default configuration: %v", err)
	}
}
