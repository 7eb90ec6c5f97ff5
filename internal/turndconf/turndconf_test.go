package turndconf

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"traverse.internal/config"
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
			if err != nil || len(got) != len(c.want) {
				t.Fatalf("got %v, %v; want %v", got, err, c.want)
			}
			for name, password := range c.want {
				if got[name] != password {
					t.Errorf("%s has %q, want %q", name, got[name], password)
				}
			}
		})
	}
}

func FuzzParseUsers(f *testing.F) {
	f.Add("u:p\n# x\n\nv:q\r\n")
	f.Add(":\n")
	f.Fuzz(func(t *testing.T, in string) {
		users, err := parseUsers(strings.NewReader(in))
		for name, password := range users {
			if err == nil && (name == "" || password == "" || strings.ContainsAny(name, ":\n")) {
				t.Errorf("%q gave the user %q with %q", in, name, password)
			}
		}
	})
}

func TestUsersFileMustBePrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.txt")
	if err := os.WriteFile(path, []byte("u:p\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Turnd.UsersFile = path
	if _, err := Build(c); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("err = %v, want the advice to chmod 600", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Turnd.RelayIP4 = netip.MustParseAddr("127.0.0.1")
	if got, err := Build(c); err != nil || got.Users["u"] != "p" {
		t.Errorf("got %v, %v; want the user", got.Users, err)
	}
}

func TestRelayAddrs(t *testing.T) {
	addrs := func(list string) (out []netip.Addr) {
		for _, a := range strings.Fields(list) {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	}
	for _, c := range []struct{ name, listen, interfaces, ip4, ip6 string }{
		{"what is listened on", "127.0.0.1 ::1", "192.0.2.1", "127.0.0.1", "::1"},
		{"one family", "192.0.2.7", "192.0.2.1 2001:db8::1", "192.0.2.7", "invalid IP"},
		{"the wildcard of one family", "0.0.0.0", "192.0.2.1 2001:db8::1", "192.0.2.1", "invalid IP"},
		{"the wildcards of both", "0.0.0.0 ::", "2001:db8::1 192.0.2.1 192.0.2.2", "192.0.2.1", "2001:db8::1"},
		{"no interface", "0.0.0.0", "", "invalid IP", "invalid IP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var listen []netip.AddrPort
			for _, a := range addrs(c.listen) {
				listen = append(listen, netip.AddrPortFrom(a, 3478))
			}
			ip4, ip6 := relayAddrs(listen, func() []netip.Addr { return addrs(c.interfaces) })
			if ip4.String() != c.ip4 || ip6.String() != c.ip6 {
				t.Errorf("got %v and %v, want %s and %s", ip4, ip6, c.ip4, c.ip6)
			}
		})
	}
}
