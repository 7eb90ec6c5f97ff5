package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const full = `# every section once
schema = 1

[identity]
dir = "keys"

[node]
listen = ["tcp://192.0.2.1:7000", "tcp://[2001:db8::1]:7000"]
download_dir = "/srv/inbox"

[dht]
mode = "private"
listen = "127.0.0.1:17001"
bootstrap = ["127.0.0.1:17000", "dht.example:6881"]

[path]
policy = "direct-only"

[[relay]]
url = "turn:u@127.0.0.1:13478?transport=tcp"
password_file = "relay.secret"

[[relay]]
url = "turn:v@relay.example:3478"
password = "env:RELAY_PASSWORD"

[transfer]
min_free = "256MiB"

[turnd]
enabled = true
listen_udp = [":3478"]
allow_peer = ["127.0.0.0/8", "::1"]

[turnd.limits]
per_user = 1_000
`

var fullEnv = []string{"RELAY_PASSWORD=s3cret"}

func TestFileIsRead(t *testing.T) {
	c, err := load("/etc/traverse/traverse.toml", []byte(full), fullEnv, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Identity.Dir = "/etc/traverse/keys"
	want.Node.Listen = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:7000"), netip.MustParseAddrPort("[2001:db8::1]:7000")}
	want.Node.DownloadDir = "/srv/inbox"
	want.DHT = DHT{"private", netip.MustParseAddrPort("127.0.0.1:17001"), []string{"127.0.0.1:17000", "dht.example:6881"}}
	want.Path.Policy = "direct-only"
	want.Relays = []Relay{
		{URL: "turn:u@127.0.0.1:13478?transport=tcp", PasswordFile: "/etc/traverse/relay.secret"},
		{URL: "turn:v@relay.example:3478", Password: "s3cret"},
	}
	want.Transfer.MinFree = 256 << 20
	want.Turnd.Enabled = true
	want.Turnd.AllowPeer = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	want.Turnd.Limits.PerUser = 1000
	want.origins = c.origins
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestLayersInOrder(t *testing.T) {
	file := "[path]\npolicy = \"direct-only\"\n[log]\nlevel = \"warn\"\nformat = \"text\"\n"
	env := []string{"TRAVERSE_LOG_LEVEL=error", "TRAVERSE_LOG_LEVEL=debug", "TRAVERSE_PATH_POLICY=auto", "HOME=/root"}
	c, err := load("t.toml", []byte(file), env, map[string]string{"path": "relay-only"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ key, value, origin string }{
		{"path.policy", "relay-only", "--path"},
		{"log.level", "debug", "TRAVERSE_LOG_LEVEL"},
		{"log.format", "text", "t.toml:5:1"},
		{"accept.default", "ask", "default"},
	} {
		if got := c.Value(want.key); got != want.value {
			t.Errorf("%s = %q, want %q", want.key, got, want.value)
		}
		if got := c.Origin(want.key).String(); got != want.origin {
			t.Errorf("%s comes from %q, want %q", want.key, got, want.origin)
		}
	}
}

// The calls of the programs' documentation.
func TestFlagsOfTheDocumentedCalls(t *testing.T) {
	turnd, err := Load("", nil, map[string]string{
		"listen-udp": "127.0.0.1:13478,[::1]:13478", "listen-tcp": "127.0.0.1:13478,[::1]:13478", "realm": "bench.local",
		"users-file": "users.txt", "relay-ip4": "127.0.0.1", "relay-ip6": "::1", "port-range": "40000-49000",
		"allow-peer": "127.0.0.0/8,::1/128", "metrics": "127.0.0.1:19641",
	})
	if err != nil {
		t.Fatal(err)
	}
	both := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:13478"), netip.MustParseAddrPort("[::1]:13478")}
	want := Default().Turnd
	want.ListenUDP, want.ListenTCP, want.Realm, want.UsersFile = both, both, "bench.local", "users.txt"
	want.RelayIP4, want.RelayIP6 = netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()
	want.PortRange = PortRange{40000, 49000}
	want.AllowPeer = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	if !reflect.DeepEqual(turnd.Turnd, want) || turnd.Metrics.Listen != "127.0.0.1:19641" {
		t.Errorf("turnd run: got %+v, metrics %q\nwant %+v", turnd.Turnd, turnd.Metrics.Listen, want)
	}

	node, err := Load("", nil, map[string]string{
		"private-dht": "true", "dht-listen": "127.0.0.1:17001", "bootstrap": "127.0.0.1:17000",
		"relay": "turn:u@127.0.0.1:13478?transport=tcp", "relay-password-file": "F", "path": "relay-only",
		"accept": "auto", "download-dir": "DIR", "turnd": "false",
	})
	if err != nil {
		t.Fatal(err)
	}
	if node.DHT.Mode != "private" || node.DHT.Bootstrap[0] != "127.0.0.1:17000" || node.Path.Policy != "relay-only" ||
		node.Accept.Default != "auto" || node.Node.DownloadDir != "DIR" || node.Turnd.Enabled ||
		!reflect.DeepEqual(node.Relays, []Relay{{URL: "turn:u@127.0.0.1:13478?transport=tcp", PasswordFile: "F"}}) {
		t.Errorf("node up: got %+v", node)
	}
}

func TestRelayLayers(t *testing.T) {
	file := "[[relay]]\nurl = \"turn:a@a:1\"\npassword_file = \"/a\"\n"
	two := file + "[[relay]]\nurl = \"turn:b@b:1\"\npassword_file = \"/b\"\n"
	for _, c := range []struct {
		name, file string
		env        []string
		flags      map[string]string
		want       []Relay
		wantErr    string
	}{
		{"two in the file", two, nil, nil, []Relay{{URL: "turn:a@a:1", PasswordFile: "/a"}, {URL: "turn:b@b:1", PasswordFile: "/b"}}, ""},
		{"inline form", `relay = [{url = "turn:a@a:1", password_file = "/a"}]`, nil, nil, []Relay{{URL: "turn:a@a:1", PasswordFile: "/a"}}, ""},
		{
			"a flag replaces all", two, nil,
			map[string]string{"relay": "turn:c@c:1", "relay-password-file": "c"},
			[]Relay{{URL: "turn:c@c:1", PasswordFile: "c"}},
			"",
		},
		{
			"a variable's password for the file's relay", file,
			[]string{"TRAVERSE_RELAY_PASSWORD_FILE=e"},
			nil,
			[]Relay{{URL: "turn:a@a:1", PasswordFile: "e"}},
			"",
		},
		{
			"env: instead of the file's file", file,
			[]string{"P=secret"},
			map[string]string{"relay-password": "env:P"},
			[]Relay{{URL: "turn:a@a:1", Password: "secret"}},
			"",
		},
		{
			"address in the environment, password as flag", "",
			[]string{"TRAVERSE_RELAY_URL=turn:e@e:1"},
			map[string]string{"relay-password-file": "f"},
			[]Relay{{URL: "turn:e@e:1", PasswordFile: "f"}},
			"",
		},
		{"a flag's relay does not inherit a password", file, nil, map[string]string{"relay": "turn:c@c:1"}, nil, "--relay: relay.url: the relay has no relay.password_file"},
		{"a password without a relay", "", nil, map[string]string{"relay-password-file": "f"}, nil, "it is for one relay, there are 0"},
		{"a password for one of two", two, nil, map[string]string{"relay-password-file": "f"}, nil, "it is for one relay, there are 2"},
		{"no password", "[[relay]]\nurl = \"turn:a@a:1\"\n", nil, nil, nil, "t.toml:2:1: relay.url: the relay has no relay.password_file"},
		{"no address", "[[relay]]\npassword_file = \"/a\"\n", nil, nil, nil, "relay.url: it is missing from [[relay]] number 1"},
		{"two passwords", file + "password = \"env:P\"\n", []string{"P=x"}, nil, nil, "t.toml:4:1: relay.password: there is relay.password_file too"},
		{"a variable that is not set", "[[relay]]\nurl = \"turn:a@a:1\"\npassword = \"env:P\"\n", nil, nil, nil, "the variable P is empty or not set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := load("t.toml", []byte(c.file), c.env, c.flags)
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Fatalf("error %v, want %q", err, c.wantErr)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got.Relays, c.want) {
				t.Errorf("relays %+v, %v, want %+v", got.Relays, err, c.want)
			}
		})
	}
}

// What could be a secret is not repeated in a message, and not shown.
func TestSecretsAreNotShown(t *testing.T) {
	for _, file := range []string{
		"[[relay]]\nurl = \"turn:u:hunter2@h:1\"\n",
		"[[relay]]\nurl = \"turn:u@h:1\"\npassword = \"hunter2\"\n",
	} {
		_, err := load("t.toml", []byte(file), nil, nil)
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "password_file") {
			t.Errorf("error %v, want one that names password_file and not the secret", err)
		}
	}
	c, err := load("t.toml", []byte(full), fullEnv, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Value("relay.password"); got != "(hidden)" {
		t.Errorf("relay.password shows as %q", got)
	}
}

func TestUnknownVariablesAreNamed(t *testing.T) {
	c, err := Load("", []string{"TRAVERSE_DHT_MOD=private", "TRAVERSE_PORT=tcp://10.0.0.1:80", "TRAVERSE_DHT_MODE=private", "OTHER=1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"TRAVERSE_DHT_MOD", "TRAVERSE_PORT"}; !reflect.DeepEqual(c.UnknownEnv, want) {
		t.Errorf("UnknownEnv = %q, want %q", c.UnknownEnv, want)
	}
}

func TestLoadReadsFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "traverse.toml")
	if err := os.WriteFile(file, []byte("[identity]\ndir = \"id\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file, nil, nil)
	if want := filepath.Join(dir, "id"); err != nil || c.Identity.Dir != want {
		t.Errorf("identity.dir = %q, %v, want %q", c.Identity.Dir, err, want)
	}
	if _, err := Load(filepath.Join(dir, "none.toml"), nil, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v, want fs.ErrNotExist", err)
	}
	if err := os.WriteFile(file, []byte(strings.Repeat("#", maxFile+1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file, nil, nil); err == nil || !strings.Contains(err.Error(), "longer than 65536 bytes") {
		t.Errorf("a long file: %v", err)
	}
}
