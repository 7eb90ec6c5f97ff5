package turndconf

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"traverse.internal/turn"
)

func TestParseUsers(t *testing.T) {
	for _, c := range []struct {
		name, in, why string
		want          map[string]string
	}{
		{name: "two users", in: "u:p\nv:q:r\n", want: map[string]string{"u": "p", "v": "q:r"}},
		{name: "comments and empty lines", in: "# people\n\nu:p\r\n", want: map[string]string{"u": "p"}},
		{name: "no users", in: "", want: map[string]string{}},
		{name: "no colon", in: "u\n", why: "line 1 is not name:password"},
		{name: "no password", in: "u:\n", why: "line 1"},
		{name: "no name", in: "a:b\n:p\n", why: "line 2"},
		{name: "twice", in: "u:p\nu:q\n", why: "twice"},
		{name: "not UTF-8", in: "\xff:p\n", why: "not UTF-8"},
		{name: "a name too long", in: strings.Repeat("x", 600) + ":p\n", why: "longer than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseUsers(strings.NewReader(c.in))
			if c.why != "" {
				if err == nil || !strings.Contains(err.Error(), c.why) {
					t.Fatalf("err = %v, want one that says %q", err, c.why)
				}
				return
			}
			if err != nil || !maps.Equal(got.Passwords, c.want) {
				t.Errorf("got %v, %v; want %v", got.Passwords, err, c.want)
			}
		})
	}
}

func FuzzParseUsers(f *testing.F) {
	f.Add("u:p\n# x\n\nv:q\r\n")
	f.Add(":\n")
	f.Add(Line("u", "r", turn.DeriveKeys("u", "r", "p")) + "\n")
	f.Fuzz(func(t *testing.T, in string) {
		users, err := parseUsers(strings.NewReader(in))
		if err != nil {
			return
		}
		for name, password := range users.Passwords {
			if name == "" || password == "" || strings.ContainsAny(name, ":\n") {
				t.Errorf("%q gave the user %q with %q", in, name, password)
			}
		}
		for name, k := range users.keys {
			again, err := parseUsers(strings.NewReader(Line(name, k.realm, k.keys)))
			if err != nil || again.keys[name] != k {
				t.Errorf("%q: the keys of %q do not come back: %v", in, name, err)
			}
		}
	})
}

func TestKeysInTheUsersFile(t *testing.T) {
	keys := turn.DeriveKeys("u", "home", "p")
	line := Line("u", "home", keys)
	users, err := parseUsers(strings.NewReader(line + "\nplain:q\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := users.forRealm("home"); err != nil || got["u"] != keys || len(users.Passwords) != 1 {
		t.Errorf("got %v, %v, want the keys and one password", got, err)
	}
	if _, err := users.forRealm("other"); err == nil || !strings.Contains(err.Error(), `made for the realm "home"`) {
		t.Errorf("another realm: %v", err)
	}
	for _, broken := range []string{"u:$rfc8489$", "u:$rfc8489$md5=00$sha256=00$realm=x", strings.Replace(line, "$realm=home", "", 1)} {
		if _, err := parseUsers(strings.NewReader(broken)); err == nil {
			t.Errorf("%q is accepted", broken)
		}
	}
}

func TestEdit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.txt")
	set := func(name, line string) bool {
		t.Helper()
		was, err := Edit(path, name, line)
		if err != nil {
			t.Fatal(err)
		}
		return was
	}
	if set("u", "u:p") || set("v", "v:q") || !set("u", "u:r") || !set("v", "") || set("v", "") {
		t.Error("what was there is told wrong")
	}
	if err := os.WriteFile(path, []byte("# people\nu:p"), 0o600); err != nil {
		t.Fatal(err)
	}
	set("w", "w:x")
	got, err := os.ReadFile(path)
	info, _ := os.Stat(path)
	if want := "# people\nu:p\nw:x\n"; err != nil || string(got) != want || info.Mode().Perm() != 0o600 {
		t.Errorf("got %q, %v, want %q", got, info.Mode(), want)
	}
}

func TestReadSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	for in, want := range map[string]int{"one\n": 1, "# new\nnew\n\nold\n": 2, "": 0, "a\nb\nc\nd\ne\n": 0} {
		if err := os.WriteFile(path, []byte(in), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadSecrets(path); len(got) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
	}
}
