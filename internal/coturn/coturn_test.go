package coturn

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"traverse.internal/config"
)

var files = Files{Users: "/etc/traverse/users", Secrets: "/etc/traverse/secrets"}

// typical is what people run for Matrix or Jitsi.
const typical = `# turnserver.conf
listening-ip=192.0.2.1
listening-ip=2001:db8::1
listening-port=3478
tls-listening-port=443
relay-ip=10.0.0.5
external-ip=192.0.2.1/10.0.0.5
min-port=50000
max-port=50999
realm=example.org
lt-cred-mech
user=alice:pass=word
use-auth-secret
static-auth-secret=north
cert=/etc/ssl/turn.pem
pkey=/etc/ssl/turn.key
user-quota=12
total-quota=1200
denied-peer-ip=10.0.0.0-10.255.255.255
allowed-peer-ip=10.0.0.5
no-cli
no-tlsv1
bps-capacity=1000000
max-bps=64000
simple-log
prometheus
  # an indented comment
stun-only-mode-of-tomorrow=1
`

func TestConvert(t *testing.T) {
	c, err := Convert([]byte(typical), files)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range c.Settings {
		got[s.Key] = s.Value
	}
	for key, want := range map[string]string{
		"turnd.listen_udp": "192.0.2.1:3478,[2001:db8::1]:3478", "turnd.listen_tls": "192.0.2.1:443,[2001:db8::1]:443",
		"turnd.relay_ip4": "10.0.0.5", "turnd.external_ip4": "192.0.2.1", "turnd.port_range": "50000-50999", "turnd.realm": "example.org",
		"turnd.users_file": files.Users, "turnd.secret_file": files.Secrets, "turnd.cert_file": "/etc/ssl/turn.pem",
		"turnd.limits.per_user": "12", "turnd.limits.allocations": "1200", "turnd.limits.rate": "1000000B", "turnd.allow_peer": "10.0.0.5/32", "metrics.listen": "127.0.0.1:9641",
	} {
		if got[key] != want {
			t.Errorf("%s = %q, want %q", key, got[key], want)
		}
	}
	if want := []User{{"alice", "pass=word"}}; !slices.Equal(c.Users, want) || !slices.Equal(c.Secrets, []string{"north"}) {
		t.Errorf("users %v, secrets %v", c.Users, c.Secrets)
	}
	denied := strings.Split(got["turnd.deny_peer"], ",")
	for ip, want := range map[string]bool{"10.0.0.4": true, "10.0.0.5": false, "10.0.0.6": true, "10.255.255.255": true, "11.0.0.0": false, "9.255.255.255": false} {
		if has := slices.ContainsFunc(denied, func(p string) bool { return netip.MustParsePrefix(p).Contains(netip.MustParseAddr(ip)) }); has != want {
			t.Errorf("%s is denied: %v, want %v", ip, has, want)
		}
	}
	if c.Unknown() != 1 || !strings.Contains(c.TOML(), "# line 28: stun-only-mode-of-tomorrow: unknown: ") {
		t.Errorf("%d unknown lines in\n%s", c.Unknown(), c.TOML())
	}
	if n := len(c.Notes); n != 26 { // all lines but two comments
		t.Errorf("%d notes, want one a line: %v", n, c.Notes)
	}
	if text := c.TOML() + fmt.Sprint(c.Notes); strings.Contains(text, "north") || strings.Contains(text, "word=") || strings.Contains(text, "pass=") {
		t.Errorf("a secret is shown in\n%s", text)
	}
}

func TestConvertRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a port too large", "realm=a\nlistening-port=65536", `line 2: listening-port: "65536" is no port`},
		{"a value of the key that is wrong", "\nrealm=a\"b", `line 2: a realm cannot hold '"'`},
		{"a range the wrong way", "min-port=60000\nmax-port=50000", "port_range"},
		{"a peer that is a name", "denied-peer-ip=lan", `"lan" is no range of addresses`},
		{"a range of two families", "denied-peer-ip=10.0.0.0-fd00::", "no range"},
		{"a user without a password", "user=alice", "not NAME:PASSWORD"},
		{"a user twice", "user=a:b\nuser=a:c", "line 2: user: a user of this name is there twice"},
		{"a switch that is neither", "no-udp=maybe", `"maybe" is neither on nor off`},
		{"two relays of a family", "relay-ip=192.0.2.1\nrelay-ip=192.0.2.2", "there is one address of each family here"},
		{"no value", "cert=", "line 1: cert: it has no value"},
		{"too many secrets", strings.Repeat("static-auth-secret=x\n", 5), "line 5: static-auth-secret: there can be 4 at most"},
		{"too long", strings.Repeat("#", maxBytes+1), "longer than"},
	} {
		if _, err := Convert([]byte(c.text), files); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

func TestSpans(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7":               "192.0.2.7/32",
		"192.0.2.0-192.0.2.255":   "192.0.2.0/24",
		"192.0.2.1-192.0.2.4":     "192.0.2.1/32,192.0.2.2/31,192.0.2.4/32",
		"0.0.0.0-255.255.255.255": "0.0.0.0/0",
		"10.1.2.3/8":              "10.0.0.0/8",
		"fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": "fc00::/7",
		"255.255.255.254-255.255.255.255":                "255.255.255.254/31",
	} {
		if got := join(minus([]span{mustSpan(in)}, nil)); got != want {
			t.Errorf("%s = %s, want %s", in, got, want)
		}
	}
}

// Whatever coturn's own program and its example file have is known.
func TestKnowsEveryOption(t *testing.T) {
	names := map[string]bool{}
	if example, err := os.ReadFile("/usr/share/doc/coturn/examples/etc/turnserver.conf"); err == nil {
		for _, m := range regexp.MustCompile(`(?m)^#([a-zA-Z][\w-]*)(=\S*)?$`).FindAllSubmatch(example, -1) {
			names[string(m[1])] = true
		}
	}
	if help, _ := exec.Command("turnserver", "-h").CombinedOutput(); len(help) > 0 {
		for _, m := range regexp.MustCompile(`(?m)^\s*(?:-\w, *)?--([\w-]+)`).FindAllSubmatch(help, -1) {
			names[string(m[1])] = true
		}
	}
	if len(names) == 0 {
		t.Skip("SKIPPED: coturn is not installed")
	}
	for name := range names {
		if _, ok := options[name]; !ok && name != "help" && name != "version" && name != "c" && name != "n" {
			t.Errorf("%s is not known", name)
		}
	}
	t.Logf("%d options", len(names))
}

// The page has every option, with what becomes of it. UPDATE=1 rewrites it.
func TestPage(t *testing.T) {
	const page, begin, end = "../../docs/migrate-coturn.md", "<!-- options -->\n", "<!-- /options -->\n"
	var want strings.Builder
	want.WriteString("| turnserver.conf | here | |\n|---|---|---|\n")
	title := map[Kind]string{Same: "the same", Always: "always so", Nothing: "not there"}
	for _, o := range Options() {
		text := o.Text
		switch o.Option { // those that write their own notes
		case "user":
			text, o.Kind = "a line of turnd.users_file; a key `0x…` has to be made anew with `turnd user add`", Same
		case "external-ip":
			text, o.Kind = "turnd.external_ip4, turnd.external_ip6", Same
		case "alternate-server":
			text, o.Kind = "turnd.alternate; clients are sent there while it drains, not always", Same
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", o.Option, title[o.Kind], text)
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := bytes.Cut(got, []byte(begin))
	old, tail, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", page)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(page, []byte(string(head)+begin+want.String()+end+string(tail)), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(old) != want.String() {
		t.Error("docs/migrate-coturn.md does not say what the code does; run UPDATE=1 go test ./internal/coturn")
	}
}

// What comes out is a configuration, and tells no secret.
func FuzzConvert(f *testing.F) {
	f.Add([]byte(typical))
	f.Add([]byte("denied-peer-ip=::-ffff::\nallowed-peer-ip=::1\nallow-loopback-peers\n"))
	f.Add([]byte("user=a:0x00\nstatic-auth-secret=#\n--realm x\n"))
	f.Add([]byte("alternate-server=[::1]:5\nprometheus\nprometheus-address=::1\nno-udp\nno-tcp"))
	f.Add([]byte("\x00=\n=\n#\n listening-ip\t::ffff:1.2.3.4"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Convert(text, files)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "coturn: ") {
				t.Fatal(err)
			}
			return
		}
		path := filepath.Join(dir, "t.toml")
		if err := os.WriteFile(path, []byte(c.TOML()), 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := config.Load(path, nil, nil)
		if err != nil {
			if strings.Contains(err.Error(), "longer than") { // thousands of networks
				return
			}
			t.Fatalf("%v\n%s", err, c.TOML())
		}
		for _, s := range c.Settings {
			if got := again.Value(s.Key); got != s.Value && !strings.HasSuffix(s.Key, "_file") { // relative to the file
				t.Errorf("%s = %q, want %q", s.Key, got, s.Value)
			}
		}
	})
}
