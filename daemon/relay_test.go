package daemon

import (
	"strings"
	"testing"
	"time"

	"traverse.internal/config"
	"traverse.internal/connmgr"
	"traverse.internal/core/ice"
)

func TestParseRelayURL(t *testing.T) {
	for _, c := range []struct{ in, address, user, why string }{
		{in: "turn:u@127.0.0.1:13478?transport=tcp", address: "127.0.0.1:13478", user: "u"},
		{in: "turn:u@relay.example", address: "relay.example:3478", user: "u"},
		{in: "turn:u@[::1]:13478?transport=tcp", address: "[::1]:13478", user: "u"},
		{in: "turn:a%40b@h:1", address: "h:1", user: "a@b"},
		{in: "turn:a%20b+c%3A@::1", address: "[::1]:3478", user: "a b+c:"},
		{in: "http://x", why: "does not begin with turn:"},
		{in: "turn:h:1", why: "names no user"},
		{in: "turn:u:secret@h:1", why: "a password stands in it"},
		{in: "turn:u@h:0", why: "not between 1 and 65535"},
		{in: "turn:u@h:x", why: "not between 1 and 65535"},
		{in: "turn:u@", why: "names no host"},
		{in: "turn:u@a b:1", why: "neither a host's name nor an address"},
		{in: "turn:u@fe80::1%eth0", why: "neither a host's name nor an address"},
		{in: "turn:u@h?transport=udp", why: "needs tcp"},
		{in: "turn:u@h?speed=fast", why: "unknown parameter"},
	} {
		t.Run(c.in, func(t *testing.T) {
			u, err := ParseRelayURL(c.in)
			if c.why != "" {
				if err == nil || !strings.Contains(err.Error(), c.why) {
					t.Fatalf("err = %v, want one that says %q", err, c.why)
				}
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("the error shows the password: %v", err)
				}
				return
			}
			if err != nil || u.Address() != c.address || u.User != c.user {
				t.Fatalf("got %q %q %v, want %q %q", u.Address(), u.User, err, c.address, c.user)
			}
			if again, err := ParseRelayURL(u.String()); err != nil || again != u {
				t.Errorf("%s parses to %+v %v, want %+v", u, again, err, u)
			}
		})
	}
}

func FuzzParseRelayURL(f *testing.F) {
	f.Add("turn:u@127.0.0.1:13478?transport=tcp")
	f.Add("turn:%40@[::1]:1")
	f.Add("turn:+%20@a.b")
	f.Add("turn:u@a]:b:")
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := ParseRelayURL(raw)
		if err != nil {
			return
		}
		if again, err := ParseRelayURL(u.String()); err != nil || again != u {
			t.Errorf("%q: %+v, printed %s, parsed %+v %v", raw, u, u, again, err)
		}
	})
}

// turns: is TLS on its own port, and without a user the device itself.
func TestParseSecureRelayURL(t *testing.T) {
	for raw, want := range map[string]RelayURL{
		"turns:relay.example":                         {TLS: true, Host: "relay.example", Port: 5349},
		"turns:relay.example:443?transport=tcp":       {TLS: true, Host: "relay.example", Port: 443},
		"turns:anna@192.0.2.1:5349":                   {TLS: true, Host: "192.0.2.1", Port: 5349, User: "anna"},
		"turns:anna@[2001:db8::1]:5349?transport=tcp": {TLS: true, Host: "2001:db8::1", Port: 5349, User: "anna"},
	} {
		got, err := ParseRelayURL(raw)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", raw, got, err, want)
		}
		if again, err := ParseRelayURL(got.String()); err != nil || again != got {
			t.Errorf("%s: written as %s, read as %+v, %v", raw, got, again, err)
		}
	}
	for _, raw := range []string{"turns:@relay.example", "turns:a:b@relay.example", "turns:", "turnss:x"} {
		if u, err := ParseRelayURL(raw); err == nil {
			t.Errorf("%s is taken: %+v", raw, u)
		}
	}
}

// TestACallWaitsAsLongAsTheDHTNeeds: unless somebody says for how long.
func TestACallWaitsAsLongAsTheDHTNeeds(t *testing.T) {
	for said, want := range map[string]time.Duration{"": 0, "30s": 30 * time.Second} {
		var env []string
		if said != "" {
			env = []string{"TRAVERSE_SIGNALLING_TIMEOUT=" + said}
		}
		c, err := config.Load("", env, nil)
		if err != nil {
			t.Fatal(err)
		}
		d, err := FromConfig(HomeAt(t.TempDir()), c)
		if err != nil {
			t.Fatal(err)
		}
		if d.Timeout != want {
			t.Errorf("with %q: %v, want %v", said, d.Timeout, want)
		}
	}
}

// TestKeysOfPaths: what [path] says arrives where paths are found.
func TestKeysOfPaths(t *testing.T) {
	of := func(env ...string) Config {
		t.Helper()
		c, err := config.Load("", env, nil)
		if err != nil {
			t.Fatal(err)
		}
		d, err := FromConfig(HomeAt(t.TempDir()), c)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := of(); d.Without != 0 || d.UDPFirst || d.RelayUDP || d.RelayAfter != 150*time.Millisecond || d.Repunch != (connmgr.Repunch{First: 5 * time.Second, Most: 10 * time.Minute}) {
		t.Errorf("by default %b, %v, %v, %v, %v", d.Without, d.UDPFirst, d.RelayUDP, d.RelayAfter, d.Repunch)
	}
	d := of("TRAVERSE_PATH_ORDER=host-udp, host-tcp, relay-tcp, relay-udp", "TRAVERSE_PATH_RELAY_UDP=always", "TRAVERSE_PATH_RELAY_AFTER=1s", "TRAVERSE_PATH_REPUNCH=30s..10m")
	if d.Without != ice.SrflxTCP|ice.SrflxUDP || !d.UDPFirst || !d.RelayUDP || d.RelayAfter != time.Second || d.Repunch != (connmgr.Repunch{First: 30 * time.Second, Most: 10 * time.Minute}) {
		t.Errorf("as set %b, %v, %v, %v, %v", d.Without, d.UDPFirst, d.RelayUDP, d.RelayAfter, d.Repunch)
	}
}
