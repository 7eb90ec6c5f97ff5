package config

import (
	"errors"
	"strings"
	"testing"
)

// The first thing that is wrong, the place where it stands, and what would be right.
func TestWrongFiles(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"unknown key", "[dht]\nmod = \"private\"", `t.toml:2:1: unknown key "dht.mod"; did you mean "dht.mode"?`},
		{"swapped letters", "[path]\n  poilcy = \"auto\"", `t.toml:2:3: unknown key "path.poilcy"; did you mean "path.policy"?`},
		{"right word, wrong section", "[node]\nrealm = \"home\"", `t.toml:2:1: unknown key "node.realm"; did you mean "turnd.realm"?`},
		{"nothing like it", "[dht]\nxyzzy = 1", `t.toml:2:1: unknown key "dht.xyzzy"`},
		{"a key that has no effect yet", "[mux]\nwindow = \"256KiB\"", `t.toml:1:2: unknown section [mux]`},
		{"unknown section", "[dth]\n", `t.toml:1:2: unknown section [dth]; did you mean "dht"?`},
		{"dotted key", "dht.mode = \"publc\"", `t.toml:1:1: dht.mode: "publc" is not one of mainline, private`},
		{"inline table", "dht = { mode = \"mainlin\" }", `t.toml:1:9: dht.mode: "mainlin" is not one of mainline, private; did you mean "mainline"?`},
		{"quoted dot", "\"dht.mode\" = \"private\"", `unknown key "\"dht.mode\""`},
		{"a value for a section", "dht = 5", `t.toml:1:1: unknown key "dht"`},
		{"a list of sections", "[[dht]]\nmode = \"private\"", `t.toml:1:3: there is one of it: write [dht]`},
		{"one relay", "[relay]\nurl = \"turn:u@h:1\"", `t.toml:1:2: there can be several relays: write [[relay]]`},
		{"relay key without table", "relay.url = \"turn:u@h:1\"", `t.toml:1:1: relay.url: there can be several relays: write [[relay]]`},
		{"relays as strings", "relay = [\"turn:u@h:1\"]", `t.toml:1:1: relay: want [[relay]] tables`},
		{"later schema", "schema = 2", `t.toml:1:1: schema: this program reads schema 1`},
		{"no TOML", "[dht\nmode", `t.toml:1:5: `},
		{"key twice", "[dht]\nmode = \"private\"\nmode = \"mainline\"", `t.toml:3:1: `},
		{"string for bool", "[turnd]\nenabled = \"true\"", `t.toml:2:1: turnd.enabled: want true or false, without quotes`},
		{"bool for string", "[path]\npolicy = true", `t.toml:2:1: path.policy: want a string in quotes`},
		{"string for list", "[dht]\nbootstrap = \"a:1\"", `t.toml:2:1: dht.bootstrap: want a list`},
		{"list of numbers", "[dht]\nbootstrap = [1]", `t.toml:2:1: dht.bootstrap: want a list`},
		{"list of lists", "[dht]\nbootstrap = [[\"a:1\"]]", `t.toml:2:1: dht.bootstrap: want a list`},
		{"string for number", "[turnd.limits]\nper_user = \"5\"", `t.toml:2:1: turnd.limits.per_user: want a whole number, without quotes`},
		{"none at all", "[turnd.limits]\nper_user = 0", `"0" is not a number from 1`},
		{"a date", "[accept]\ndefault = 2026-01-01", `accept.default: want a string`},
		{"size without unit", "[transfer]\nmin_free = \"100\"", `"100" is not a size such as "256KiB"`},
		{"size as number", "[transfer]\nmin_free = 100", `transfer.min_free: want a string in quotes`},
		{"host without port", "[dht]\nbootstrap = [\"a:1\", \"b\"]", `"b" is not HOST:PORT`},
		{"name to listen on", "[dht]\nlisten = \"localhost:1\"", `"localhost:1" is not ADDRESS:PORT`},
		{"port too large", "[turnd]\nlisten_udp = [\":65536\"]", `":65536": port "65536" is not a number from 0 to 65535`},
		{"UDP for paths", "[node]\nlisten = [\"udp://:0\"]", `"udp://:0" is not tcp://ADDRESS:PORT`},
		{"two ports", "[node]\nlisten = [\"tcp://:1\", \"tcp://127.0.0.1:2\"]", `t.toml:2:1: node.listen: ports 1 and 2; a device has one`},
		{"nowhere to listen", "[node]\nlisten = []", `t.toml:2:1: node.listen: it is empty`},
		{"no listener", "[turnd]\nlisten_udp = []\nlisten_tcp = []", `t.toml:2:1: turnd.listen_udp: neither it nor turnd.listen_tcp`},
		{"the same twice", "[turnd]\nlisten_tcp = [\":1\", \"0.0.0.0:1\"]", `t.toml:2:1: turnd.listen_tcp: 0.0.0.0:1 is there twice`},
		{"IPv6 as IPv4", "[turnd]\nrelay_ip4 = \"::1\"", `"::1" is not an IPv4 address`},
		{"unspecified relay address", "[turnd]\nrelay_ip6 = \"::\"", `"::" is no address that peers could send to`},
		{"range the wrong way", "[turnd]\nport_range = \"5000-4000\"", `"5000-4000" is not a port range such as`},
		{"network with host bits", "[turnd]\nallow_peer = [\"10.1.2.3/8\"]", `"10.1.2.3/8" has bits beyond its length; did you mean "10.0.0.0/8"?`},
		{"network in disguise", "[turnd]\nallow_peer = [\"::ffff:10.0.0.0/104\"]", `IPv4 in IPv6 form`},
		{"relay of another kind", "[[relay]]\nurl = \"http://h\"", `a relay is written turn:USER@HOST:PORT`},
		{"a way that there is not", "[path]\norder = [\"host-tpc\"]", `t.toml:2:1: path.order: "host-tpc" is not one of host-tcp, srflx-tcp, host-udp, srflx-udp, relay-tcp, relay-udp; did you mean "host-tcp"?`},
		{"a way twice", "[path]\norder = [\"host-tcp\", \"host-tcp\"]", `t.toml:2:1: path.order: host-tcp is there twice`},
		{"relays before direct ways", "[path]\norder = [\"relay-tcp\", \"host-tcp\"]", `path.order: host-tcp stands behind relay-tcp; ways through a relay come last`},
		{"only relays", "[path]\norder = [\"relay-tcp\"]", `path.order: it has no direct way; that is path.policy = "relay-only"`},
		{"no way at all", "[path]\norder = []", `path.order: it has no direct way`},
		{"transports by turns", "[path]\norder = [\"host-tcp\", \"host-udp\", \"srflx-tcp\"]", `path.order: srflx-tcp stands apart`},
		{"far before near", "[path]\norder = [\"srflx-udp\", \"host-udp\"]", `path.order: srflx stands before host`},
		{"relayed UDP before TCP", "[path]\norder = [\"host-tcp\", \"relay-udp\", \"relay-tcp\"]", `path.order: relay-udp stands before relay-tcp`},
		{"relay-only without relays", "[path]\npolicy = \"relay-only\"\norder = [\"host-tcp\"]", `t.toml:2:1: path.policy: relay-only, and path.order has neither`},
		{"relayed UDP wanted and left out", "[path]\nrelay_udp = \"always\"\norder = [\"host-tcp\"]", `t.toml:2:1: path.relay_udp: always, and path.order has no relay-udp`},
		{"TCP wanted and left out", "[path]\ntransports = \"tcp-only\"\norder = [\"host-udp\"]", `t.toml:2:1: path.transports: tcp-only, and path.order has neither`},
		{"a head start too long", "[path]\nrelay_after = \"1m\"", `path.relay_after: 1m0s is not within 1ms and 10s`},
		{"a pause that is no range", "[path]\nrepunch = \"30s\"", `path.repunch: "30s" is not a range of durations such as "5s..10m"`},
		{"a range the wrong way", "[path]\nrepunch = \"10m..5s\"", `path.repunch: "10m..5s" begins above its end`},
		{"name over two lines", "[node]\nname = \"a\\nb\"", `node.name: a name cannot hold '\n'`},
		{"name too long", "[node]\nname = \"" + strings.Repeat("n", 65) + "\"", `node.name: a name has at most 64 bytes, this one 65`},
		{"realm with a quote", "[turnd]\nrealm = 'a\"b'", `a realm cannot hold '"'`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load("t.toml", []byte(c.file), nil, nil)
			var typed *Error
			if !errors.As(err, &typed) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}

func TestWrongVariablesAndFlags(t *testing.T) {
	for _, c := range []struct {
		name  string
		env   []string
		flags map[string]string
		want  string
	}{
		{"variable", []string{"TRAVERSE_PATH_POLICY=best"}, nil, `config: TRAVERSE_PATH_POLICY: path.policy: "best" is not one of auto, direct-only, relay-only`},
		{"flag", nil, map[string]string{"min-free": "1gib"}, `config: --min-free: transfer.min_free: "1gib" is not a size`},
		{"flag that is none", nil, map[string]string{"windows": "1"}, `config: --windows: no such flag`},
		{"one bad item of a list", nil, map[string]string{"allow-peer": "127.0.0.0/8, LAN"}, `"LAN" is not a network`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Load("", c.env, c.flags); err == nil || !strings.HasPrefix(err.Error(), "config: ") || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Size
		text string
	}{
		{"0", 0, "0B"},
		{"0B", 0, "0B"},
		{"1000B", 1000, "1000B"},
		{"256KiB", 256 << 10, "256KiB"},
		{"1 MiB", 1 << 20, "1MiB"},
		{"1.5GiB", 3 << 29, "1536MiB"},
		{"1kB", 1000, "1000B"},
		{"2TB", 2e12, "1953125000KiB"},
		{"8388607TiB", 8388607 << 40, "8388607TiB"},
	} {
		got, err := ParseSize(c.in)
		if err != nil || got != c.want || got.String() != c.text {
			t.Errorf("ParseSize(%q) = %d (%v), %v, want %d (%s)", c.in, got, got, err, c.want, c.text)
		}
	}
	for _, in := range []string{"", "B", "KiB", "-1KiB", "1e3KiB", "1kib", "1 K", "1..5MiB", "0x10B", "NaNB", "8388608TiB", "1e99TiB", "99999999999999999999TiB"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", in, got)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte("[dht]\nmod = \"private\""))
	f.Add([]byte("relay = [{url = \"turn:a@a:1\", password_file = \"/a\"}]\n[turnd]\nlimits = {per_user = 0x10}"))
	f.Add([]byte("[[relay]]\nurl.x = {a = [1, {b = 2}]}"))
	f.Add([]byte("a.\"b.c\" = 1979-05-27T07:32:00Z"))
	f.Add([]byte("\xef\xbb\xbf[dht]\r\nmode = '''\nprivate'''"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := load("t.toml", data, fullEnv, nil)
		if err != nil {
			var typed *Error
			if !errors.As(err, &typed) || !strings.HasPrefix(err.Error(), "config: ") {
				t.Fatalf("error %T: %v", err, err)
			}
			return
		}
		// What was read, written as variables, is read the same again.
		if len(c.Relays) > 0 {
			return // a list that variables cannot express
		}
		var env []string
		for _, k := range table {
			if !isRelay(k.Name) {
				env = append(env, k.Env+"="+c.Value(k.Name))
			}
		}
		again, err := load("", nil, env, nil)
		if err != nil {
			t.Fatalf("written as variables: %v", err)
		}
		for _, k := range table {
			if got, want := again.Value(k.Name), c.Value(k.Name); got != want {
				t.Fatalf("%s = %q the second time, want %q", k.Name, got, want)
			}
		}
	})
}
