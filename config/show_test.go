package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSettingsTellOrigins(t *testing.T) {
	c, err := load("t.toml", []byte("[turnd]\nrealm = \"bench\"\n[[relay]]\nurl = \"turn:u@a:1\"\npassword_file = \"p\"\n[[relay]]\nurl = \"turn:v@b:2\"\npassword = \"env:P\"\n"),
		[]string{"TRAVERSE_LOG_LEVEL=warn", "P=xyzzy"}, map[string]string{"port-range": "2000-3000"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Setting{}
	for _, s := range c.Settings("") {
		got[s.Key] = s
	}
	for _, want := range []Setting{
		{Key: "turnd.realm", Value: "bench", Layer: "file", Where: "t.toml:2:1"},
		{Key: "log.level", Value: "warn", Layer: "env", Where: "TRAVERSE_LOG_LEVEL"},
		{Key: "turnd.port_range", Value: "2000-3000", Layer: "flag", Where: "--port-range"},
		{Key: "dht.mode", Value: "mainline", Layer: "default"},
		{Key: "relay.url", Value: "turn:u@a:1", Layer: "file", Where: "t.toml:4:1"},
		{Key: "relay.password_file", Value: "p", Layer: "file", Where: "t.toml:5:1"},
		{Key: "relay[2].url", Value: "turn:v@b:2", Layer: "file", Where: "t.toml:7:1"},
		{Key: "relay[2].password", Value: "(hidden)", Layer: "file", Where: "t.toml:8:1", Secret: true},
	} {
		s := got[want.Key]
		s.key, s.relay = nil, 0
		if s != want {
			t.Errorf("%s: got %+v\nwant %+v", want.Key, s, want)
		}
	}
	if strings.Contains(WriteTOML(c.Settings(""), nil), "xyzzy") {
		t.Error("the secret is shown")
	}
	if n := len(Within(c.Settings(""), "relay")); n != 4 {
		t.Errorf("%d settings of relays, want 4", n)
	}
}

// What WriteTOML writes is read to the same values; so is the template with every # taken away.
func TestWriteTOMLRoundTrip(t *testing.T) {
	want, err := load("/t.toml", []byte(full), fullEnv, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := WriteTOML(want.Settings(""), func(s Setting) string { return s.Layer })
	text = strings.ReplaceAll(text, "# password is hidden", `password = "env:RELAY_PASSWORD"`)
	got, err := load("/t.toml", []byte(text), append(fullEnv, "RELAY_PASSWORD=x"), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, k := range table {
		if got, want := got.Value(k.Name), want.Value(k.Name); got != want {
			t.Errorf("%s = %q, want %q", k.Name, got, want)
		}
	}
}

func TestTemplate(t *testing.T) {
	for _, program := range []string{"node", "turnd"} {
		text := Template(program)
		c, err := load("t.toml", []byte(text), nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", program, err)
		}
		for _, s := range c.Settings("") {
			if s.Layer != "default" {
				t.Errorf("%s says something about %s", program, s.Key)
			}
		}
		var bare []string
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, "#"); ok && !strings.HasPrefix(rest, " ") {
				line = rest
			}
			bare = append(bare, line)
		}
		whole := strings.Join(bare, "")
		if i := strings.Index(whole, "[[relay]]"); i >= 0 { // empty ones cannot be
			j := strings.Index(whole[i:], "\n\n")
			whole = whole[:i] + whole[i+j:]
		}
		path := filepath.Join(t.TempDir(), "t.toml")
		if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err = Load(path, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v\n%s", program, err, whole)
		}
		if !slices.ContainsFunc(c.Settings(program), func(s Setting) bool { return s.Layer == "file" }) {
			t.Errorf("%s: nothing was read", program)
		}
		for _, s := range c.Settings(program) {
			if d := Default(); s.Value != d.Value(s.Key) {
				t.Errorf("%s: the template has %q, the default is %q", s.Key, s.Value, d.Value(s.Key))
			}
		}
	}
}

func TestQuote(t *testing.T) {
	for _, s := range []string{"", `a"b\c`, "é\t\x01\x7f", "C:\\x"} {
		c, err := load("t.toml", []byte("[metrics]\nlisten = \"\"\n[log]\nlevel = \"info\"\n[identity]\ndir = "+quote("/"+s)), nil, nil)
		if err != nil || c.Identity.Dir != "/"+s {
			t.Errorf("%q: got %q, %v", s, c.Identity.Dir, err)
		}
	}
}
