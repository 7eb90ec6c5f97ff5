package daemon

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"traverse.internal/config"
)

// A reload puts in force what can be while the node runs, names what takes a restart until there is one, and changes nothing
// when something is wrong.
func TestReload(t *testing.T) {
	h := newHome(t, "alone")
	dir := filepath.Dir(h.Socket)
	secret := filepath.Join(dir, "password")
	put := func(password string, mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(secret, []byte(password+"\n"), mode), os.Chmod(secret, mode)); err != nil {
			t.Fatal(err)
		}
	}
	put("one", 0o600)
	conf := config.Default()
	conf.DHT.Mode, conf.DHT.Listen = "private", netip.MustParseAddrPort("127.0.0.1:0")
	conf.Node.LAN, conf.Node.PortMapping = false, "off"
	conf.Relays = []config.Relay{{URL: "turn:u@192.0.2.1", PasswordFile: secret}}
	now, level := conf, ""
	cfg, err := FromConfig(h, conf)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Operate = &Operation{
		Conf: conf, Load: func() (config.Config, error) { return now, nil }, Log: func(l, _ string) { level = l },
	}
	d := serve(t, cfg)
	client := NewClient(h.Socket)
	for _, step := range []struct {
		name             string
		change           func()
		applied, restart []string
		wrong            bool
	}{
		{"nothing", func() {}, nil, nil, false},
		{"a secret", func() { put("two", 0o600) }, []string{"relay.password"}, nil, false},
		{"a secret that others can read", func() { put("three", 0o644) }, nil, nil, true},
		{"the secret is right again", func() { put("two", 0o600) }, nil, nil, false},
		{"rules", func() {
			now.Accept.Default, now.Transfer.MinFree, now.Log.Level = "deny", 5, "debug"
		}, []string{"accept.default", "log.level", "transfer.min_free"}, nil, false},
		{"a name and a port", func() {
			now.Node.Name, now.DHT.Listen = "other", netip.MustParseAddrPort("127.0.0.1:1")
		}, nil, []string{"node.name", "dht.listen"}, false},
		{"another relay; what needs a restart is named again", func() {
			now.Relays = []config.Relay{{URL: "turn:v@192.0.2.2", PasswordFile: secret}}
		}, []string{"relay.url"}, []string{"node.name", "dht.listen"}, false},
		{"STUN servers", func() { now.Path.STUN = []string{"192.0.2.3:3478"} }, []string{"path.stun"}, []string{"node.name", "dht.listen"}, false},
		{"a relay that is none", func() { now.Relays = []config.Relay{{URL: "http://192.0.2.2"}} }, nil, nil, true},
	} {
		step.change()
		got, err := client.Reload(t.Context())
		if (err != nil) != step.wrong {
			t.Fatalf("%s: %v", step.name, err)
		}
		if !slices.Equal(got.Applied, step.applied) || !slices.Equal(got.Restart, step.restart) {
			t.Errorf("%s: applied %q, restart %q; want %q, %q", step.name, got.Applied, got.Restart, step.applied, step.restart)
		}
	}
	r := d.rules.Load()
	if r.accept != AcceptDeny || r.minFree != 5 || level != "debug" || d.acceptRule(d.self, 1) != AcceptDeny {
		t.Errorf("the rules are %+v, the log's level %q", *r, level)
	}
	if !slices.Equal(r.stun, []string{"192.0.2.3:3478"}) {
		t.Errorf("the STUN servers are %v", r.stun)
	}
	if at := d.pushStatus(); len(at) != 1 || at[0].Relay != "192.0.2.2:3478" {
		t.Errorf("the device registers at %+v", at)
	}
	if len(r.relays) != 1 || r.relays[0].Password != "two" || r.relays[0].URL.Host != "192.0.2.2" {
		t.Errorf("the relays are %+v", r.relays)
	}
	status, err := client.Status(t.Context())
	if err != nil || !slices.Equal(status.Relays, []string{"turn:v@192.0.2.2:3478?transport=tcp"}) {
		t.Errorf("the status has %v, %v", status.Relays, err)
	}
}
