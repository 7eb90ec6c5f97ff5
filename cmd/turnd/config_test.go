package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"traverse.internal/internal/configcmd"
)

func TestConfigCommands(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	users, plain := file("keys", ""), file("plain", "u:p\n")
	if exit, _, errOut := command(t, "user", "add", "alice", "--users-file", users, "--generate"); exit != 0 {
		t.Fatal(errOut)
	}
	const relay = "relay_ip4 = \"127.0.0.1\"\n"
	good := file("good.toml", "[turnd]\n"+relay+"users_file = \"keys\"\n")
	for _, c := range []struct {
		name string
		args []string
		exit int
		want string
	}{
		{"right", []string{"check", "--config", good}, 0, "ok: " + good},
		{"right, as an object", []string{"check", "--config", good, "--json"}, 0, `"ok":true`},
		{"passwords in plain text", []string{"check", "--config", good, "--users-file", plain}, 0, "warning: the users file has passwords"},
		{"nobody is let in", []string{"check", "--relay-ip4", "127.0.0.1"}, 0, "warning: there are no users"},
		{"nothing at all", []string{"check"}, 0, "loopback alone"},
		{"a key that is none", []string{"check", "--config", file("a.toml", "[turnd]\nrelm = \"x\"\n")}, 3, `a.toml:2:1: unknown key "turnd.relm"; did you mean "turnd.realm"?`},
		{"the same as an object", []string{"check", "--config", filepath.Join(dir, "a.toml"), "--json"}, 3, `"ok":false`},
		{"no users file", []string{"check", "--config", good, "--users-file", filepath.Join(dir, "none")}, 3, "no such file"},
		{"keys of another realm", []string{"check", "--config", good, "--realm", "other"}, 3, `made for the realm "home"`},
		{"no certificate", []string{"check", "--config", good, "--listen-tls", ":5349", "--cert", "none", "--key", "none"}, 3, "certificate"},
		{"no ports", []string{"check", "--config", good, "--port-range", "80-90"}, 3, "not within 1024-65535"},
		{"a file's line", []string{"show", "--config", good, "--origin", "turnd.relay_ip4"}, 0, `relay_ip4 = "127.0.0.1"  # ` + good + ":2:1"},
		{"a flag", []string{"show", "--config", good, "--origin", "--realm", "x"}, 0, `realm = "x"  # --realm`},
		{"a default", []string{"show", "--config", good, "--origin", "log"}, 0, `level = "info"  # default`},
		{"an object", []string{"show", "--config", good, "--json", "turnd.realm"}, 0, `{"key":"turnd.realm","value":"home","layer":"default"}`},
		{"no such key", []string{"show", "turnd.relm"}, 2, `did you mean "turnd.realm"?`},
		{"the place", []string{"path", "--home", dir}, 0, filepath.Join(dir, "traverse.toml")},
		{"begun", []string{"init", "--home", dir}, 0, "wrote "},
		{"never replaced", []string{"init", "--home", dir}, 3, "there is a configuration already"},
		{"and says nothing", []string{"check", "--home", dir}, 0, "loopback alone"},
		{"printed", []string{"init", "--stdout"}, 0, "#realm = \"home\""},
	} {
		exit, out, errOut := command(t, append([]string{"config"}, c.args...)...)
		if exit != c.exit || !strings.Contains(out+errOut, c.want) {
			t.Errorf("%s: exit code %d, want %d, and %q in\n%s%s", c.name, exit, c.exit, c.want, out, errOut)
		}
	}
	// What show prints is a configuration with the same values.
	_, first, _ := command(t, "config", "show", "--config", good)
	_, second, _ := command(t, "config", "show", "--config", file("again.toml", first))
	if first != second || first == "" {
		t.Errorf("shown\n%s\nread again\n%s", first, second)
	}
	var shown configcmd.Shown
	_, out, _ := command(t, "config", "show", "--config", good, "--json")
	if err := json.Unmarshal([]byte(out), &shown); err != nil || shown.File != good || len(shown.Settings) < 20 {
		t.Errorf("%+v, %v", shown, err)
	}
}

// A turnserver.conf becomes a configuration that check takes, users and secrets included.
func TestFromCoturn(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "turnserver.conf")
	text := "realm=example.org\nuser=alice:wonder\nuse-auth-secret\nstatic-auth-secret=north\nrelay-ip=127.0.0.1\nmobility\nfrobnicate=2\n"
	if err := os.WriteFile(old, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	users, secrets := filepath.Join(dir, "users"), filepath.Join(dir, "secrets")
	args := []string{"config", "from-coturn", old, "--users-out", users, "--secrets-out", secrets}
	exit, out, errOut := command(t, args...)
	if exit != 18 || !strings.Contains(errOut, "line 7: frobnicate: unknown") || !strings.Contains(out, "# line 6: mobility: nothing") {
		t.Errorf("exit code %d\n%s%s", exit, out, errOut)
	}
	if strings.Contains(out+errOut, "wonder") || strings.Contains(out+errOut, "north") {
		t.Errorf("a secret is shown:\n%s%s", out, errOut)
	}
	made := filepath.Join(dir, "traverse.toml")
	if err := os.WriteFile(made, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	if exit, out, errOut := command(t, "config", "check", "--config", made); exit != 0 || strings.Contains(out, "warning") {
		t.Errorf("check: exit code %d, %s%s", exit, out, errOut)
	}
	if exit, _, errOut := command(t, args...); exit != 14 || !strings.Contains(errOut, "file exists") {
		t.Errorf("the users file was replaced: exit code %d, %s", exit, errOut)
	}
	if exit, out, _ := command(t, "config", "from-coturn", old, "--json"); exit != 18 || !strings.Contains(out, `"users":1,"secrets":1,"unknown":1`) {
		t.Errorf("exit code %d, %s", exit, out)
	}
	r := start(t, "--config", made, "--listen-udp", "127.0.0.1:0", "--listen-tcp", "127.0.0.1:0")
	if exit, out, errOut := command(t, "check", "turn:alice@"+r.ready.UDP[0].String(), "--udp", "--pass", "wonder", "--family", "4", "--no-data"); exit != 0 {
		t.Errorf("the old password: exit code %d, %s%s", exit, out, errOut)
	}
}
