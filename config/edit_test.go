package config

import (
	"strings"
	"testing"
)

func TestEdit(t *testing.T) {
	for _, c := range []struct{ name, file, key, value, want string }{
		{"a value alone", "# mine\n[dht]\nmode = 'mainline' # for now\n\n[log]\n", "dht.mode", "private", "# mine\n[dht]\nmode = \"private\" # for now\n\n[log]\n"},
		{"a list over lines", "[dht]\nbootstrap = [ # two\n  \"a:1\",\n  \"b:2\",\n] # end\n", "dht.bootstrap", "c:3, d:4", "[dht]\nbootstrap = [\"c:3\", \"d:4\"] # end\n"},
		{"an empty list", "[dht]\nbootstrap = [\"a:1\"]\n", "dht.bootstrap", "", "[dht]\nbootstrap = []\n"},
		{"a text over lines", "[node]\nname = '''\nx\n'''\n", "node.name", "y", "[node]\nname = \"y\"\n"},
		{"a number", "[transfer]\nmax_parallel=0x4\n", "transfer.max_parallel", "8", "[transfer]\nmax_parallel=8\n"},
		{"the key is new in its section", "[dht]\n  mode = \"private\" # x\n\n# about logs\n[log]\n", "dht.listen", "127.0.0.1:1", "[dht]\n  mode = \"private\" # x\n  listen = \"127.0.0.1:1\"\n\n# about logs\n[log]\n"},
		{"an empty section", "[dht]", "dht.mode", "private", "[dht]\nmode = \"private\"\n"},
		{"no end of line at the end", "[dht]\nmode = \"private\"", "dht.listen", "127.0.0.1:1", "[dht]\nmode = \"private\"\nlisten = \"127.0.0.1:1\"\n"},
		{"behind its comment", "[log]\n# least\n#level = \"info\"\n# form\n#format = \"auto\"\n\n[dht]\n", "log.level", "warn", "[log]\n# least\n#level = \"info\"\nlevel = \"warn\"\n# form\n#format = \"auto\"\n\n[dht]\n"},
		{"behind its comment, before other keys", "[log]\n#level = \"info\"\nformat = \"text\"\n", "log.level", "warn", "[log]\n#level = \"info\"\nlevel = \"warn\"\nformat = \"text\"\n"},
		{"no section", "[log]\nlevel = \"warn\"\n", "turnd.limits.per_ip", "7", "[log]\nlevel = \"warn\"\n\n[turnd.limits]\nper_ip = 7\n"},
		{"no file", "", "turnd.enabled", "true", "schema = 1\n\n[turnd]\nenabled = true\n"},
		{"an inline table", "dht = {mode = \"private\"} # x\n", "dht.mode", "mainline", "dht = {mode = \"mainline\"} # x\n"},
		{"an inline table without it", "dht = {mode = \"private\"}\n", "dht.listen", "127.0.0.1:1", "dht = { listen = \"127.0.0.1:1\",mode = \"private\"}\n"},
		{"an empty inline table", "dht = {}\n", "dht.mode", "private", "dht = { mode = \"private\" }\n"},
		{"dotted keys", "dht.mode = \"private\"\n[log]\n", "dht.listen", "127.0.0.1:1", "dht.mode = \"private\"\ndht.listen = \"127.0.0.1:1\"\n[log]\n"},
		{"dotted below a section", "[turnd]\nlimits.per_ip = 3\nrealm = \"x\"\n", "turnd.limits.per_user", "2", "[turnd]\nlimits.per_ip = 3\nlimits.per_user = 2\nrealm = \"x\"\n"},
		{"a table above its subtable", "[turnd.limits]\nper_ip = 3\n", "turnd.realm", "x", "[turnd.limits]\nper_ip = 3\n\n[turnd]\nrealm = \"x\"\n"},
		{"lines of Windows", "[dht]\r\nmode = \"private\"\r\n", "dht.listen", "127.0.0.1:1", "[dht]\r\nmode = \"private\"\r\nlisten = \"127.0.0.1:1\"\r\n"},
		{"the first relay", "[[relay]]\nurl = \"turn:a@a:1\"\n[[relay]]\nurl = \"turn:b@b:1\"\n", "relay.url", "turn:c@c:1", "[[relay]]\nurl = \"turn:c@c:1\"\n[[relay]]\nurl = \"turn:b@b:1\"\n"},
		{"the second relay", "[[relay]]\nurl = \"turn:a@a:1\"\n[[relay]]\nurl = \"turn:b@b:1\"\n", "relay[2].password_file", "/p", "[[relay]]\nurl = \"turn:a@a:1\"\n[[relay]]\nurl = \"turn:b@b:1\"\npassword_file = \"/p\"\n"},
		{"one relay more", "[[relay]]\nurl = \"turn:a@a:1\"\n", "relay[2].url", "turns:b:1", "[[relay]]\nurl = \"turn:a@a:1\"\n\n[[relay]]\nurl = \"turns:b:1\"\n"},
		{"relays in a line", "relay = [{url = \"turn:a@a:1\"}, {url = \"turn:b@b:1\"}]\n", "relay[2].password_file", "/p", "relay = [{url = \"turn:a@a:1\"}, { password_file = \"/p\",url = \"turn:b@b:1\"}]\n"},
		{"what TOML escapes", "", "node.name", `a"\b`, "schema = 1\n\n[node]\nname = \"a\\\"\\\\b\"\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Edit("t.toml", []byte(c.file), nil, Change{c.key, c.value})
			if err != nil || string(got) != c.want {
				t.Errorf("%v\n%s\nwant\n%s", err, got, c.want)
			}
		})
	}
}

// Keys that need each other are set together, and the file that Template makes can be filled in.
func TestEditSeveral(t *testing.T) {
	template := Template("node")
	got, err := Edit("t.toml", []byte(template), nil, Change{"relay.url", "turn:u@h:1"}, Change{"relay.password_file", "/p"}, Change{"turnd.enabled", "true"}, Change{"accept.default", "auto"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("t.toml", got, nil, nil)
	if err != nil || len(c.Relays) != 1 || c.Relays[0].PasswordFile != "/p" || !c.Turnd.Enabled || c.Accept.Default != "auto" {
		t.Errorf("%v: %+v\n%s", err, c, got)
	}
	rest := string(got)
	for line := range strings.Lines(template) {
		before, after, ok := strings.Cut(rest, line)
		if !ok {
			t.Fatalf("%q is gone, or in another place: %q", line, before)
		}
		rest = after
	}
}

func TestEditRefuses(t *testing.T) {
	for _, c := range []struct{ name, file, key, value, want string }{
		{"unknown key", "", "dht.mod", "x", `unknown key "dht.mod"; did you mean "dht.mode"?`},
		{"a section", "", "dht", "x", `unknown key "dht"`},
		{"wrong value", "", "dht.mode", "privat", `dht.mode: "privat" is not one of mainline, private; did you mean "private"?`},
		{"wrong item", "", "dht.bootstrap", "a:1,b", `"b" is not HOST:PORT`},
		{"a secret", "", "relay.password", "hunter2", `a secret does not stand here`},
		{"a secret in an address", "", "relay.url", "turn:u:hunter2@h:1", `a password does not stand in the address`},
		{"a file that is no TOML", "[dht\n", "dht.mode", "private", `t.toml:1:5`},
		{"a file with an unknown key", "[dht]\nx = 1\n", "dht.mode", "private", `t.toml:2:1: unknown key "dht.x"`},
		{"a relay too far", "", "relay[2].url", "turn:a@a:1", `there are 0 [[relay]]; the next is relay[1]`},
		{"too long", "#" + strings.Repeat("x", maxFile), "node.name", "x", `would be longer than`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Edit("t.toml", []byte(c.file), nil, Change{c.key, c.value})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v, want %s\n%s", err, c.want, got)
			}
		})
	}
}

// Whatever the file looks like, the key has its value afterwards, the others have theirs, and every comment is there.
func FuzzEdit(f *testing.F) {
	f.Add([]byte(full), "dht.listen", "127.0.0.1:1")
	f.Add([]byte(Template("node")), "log.level", "warn")
	f.Add([]byte("dht = {}\n[turnd]\nlimits = {per_ip = 2}"), "turnd.limits.per_user", "3")
	f.Add([]byte("[dht] # x\n\tmode = 'private'#y"), "dht.bootstrap", "a:1,b:2")
	f.Add([]byte("relay = [{url = \"turn:a@a:1\",}]\n"), "relay[1].password_file", "/x")
	f.Add([]byte("[[relay]]\r\n#url = 1\r\n[[relay]]"), "relay[2].url", "turns:h:1")
	f.Fuzz(func(t *testing.T, data []byte, key, text string) {
		out, err := Edit("t.toml", data, nil, Change{key, text})
		if err != nil {
			return
		}
		k, relay, err := changed(key)
		if err != nil {
			t.Fatal(err)
		}
		r := &fileReader{name: "t.toml"}
		if err := r.read(out); err != nil {
			t.Fatalf("%v\n%q\n%q", err, data, out)
		}
		found := 0
		for _, e := range r.entries {
			if e.key != k || isRelay(k.Name) && e.value.relay != relay {
				continue
			}
			found++
			c := Default()
			c.Relays = make([]Relay, r.relays)
			if err := k.field.set(&c, e.value); err != nil {
				t.Fatalf("%v\n%q", err, out)
			}
		}
		if found != 1 {
			t.Fatalf("the key is there %d times\n%q\n%q", found, data, out)
		}
		again, err := Edit("t.toml", out, nil, Change{key, text})
		if err != nil || string(again) != string(out) {
			t.Fatalf("set again: %v\n%q\n%q", err, out, again)
		}
	})
}
