package turndconf

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"traverse.internal/config"
)

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
