package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"traverse.internal/core/reason"
	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

// TestReachAnswers holds what why, netcheck and doctor print, for people and as JSON, against testdata/reach: every kind of line of each once. What they print
// of running nodes is in docs/cli.md, and held against it by TestGolden.
func TestReachAnswers(t *testing.T) {
	say := func(s string) string { return s }
	for name, c := range map[string]struct {
		object any
		human  func(*bytes.Buffer)
	}{
		"why":            {goldenWhy(), func(b *bytes.Buffer) { printWhy(b, goldenWhy(), say) }},
		"why-nothing":    {goldenWhyNothing(), func(b *bytes.Buffer) { printWhy(b, goldenWhyNothing(), say) }},
		"why-no-path":    {goldenWhyNoPath(), func(b *bytes.Buffer) { printWhy(b, goldenWhyNoPath(), say) }},
		"why-lan":        {goldenWhyLAN(), func(b *bytes.Buffer) { printWhy(b, goldenWhyLAN(), say) }},
		"why-moved":      {goldenWhyMoved(), func(b *bytes.Buffer) { printWhy(b, goldenWhyMoved(), say) }},
		"netcheck":       {goldenNetcheck(), func(b *bytes.Buffer) { printNetcheck(b, goldenNetcheck()) }},
		"netcheck-alone": {goldenNetcheckAlone(), func(b *bytes.Buffer) { printNetcheck(b, goldenNetcheckAlone()) }},
		"doctor":         {goldenDoctor(), func(b *bytes.Buffer) { printDoctor(b, goldenDoctor()) }},
	} {
		var text bytes.Buffer
		c.human(&text)
		said := text.String()
		for after := range 10 { // people read their own time, the page has UTC's
			at := goldenTime.Add(time.Duration(after) * time.Minute)
			said = strings.ReplaceAll(said, at.Local().Format(time.DateTime), at.Format(time.DateTime))
		}
		golden(t, name+".txt", said)
		object, err := json.MarshalIndent(c.object, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".json", string(object)+"\n")
	}
}

// golden compares with a file of testdata/reach, or writes it under -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "reach", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s\nrun go test ./cmd/node -run ReachAnswers -update and read the difference", name, got, want)
	}
}

var goldenTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func goldenEnvelope(kind string) cli.Envelope { return cli.Envelope{Schema: "node.v1", Kind: kind} }

const goldenPeer = "7qk3aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func goldenWhyNothing() daemon.Why {
	return daemon.Why{Envelope: goldenEnvelope("why"), Peer: daemon.PeerRef{Name: "bob", Device: goldenPeer}, Attempts: []daemon.WhyAttempt{}, Story: []daemon.WhyTurn{}}
}

// goldenWhy is one relayed path, one that failed, and the direct one that came after.
func goldenWhy() daemon.Why {
	w := goldenWhyNothing()
	open := daemon.WhyNetwork{Mapping: "none"}
	attempt := func(after time.Duration, code reason.Code) daemon.WhyAttempt {
		advice := reason.Explain(code)
		return daemon.WhyAttempt{
			Device: goldenPeer, Began: goldenTime.Add(after), Took: 312400 * time.Microsecond, Stage: "session", Reason: string(code),
			Means: advice.Means, Change: advice.Change, Policy: "auto", Here: open, There: open, Pairs: []daemon.WhyPair{},
		}
	}
	relayed := attempt(0, reason.RelaySymmetricBoth)
	relayed.Called, relayed.Outcome = true, "relayed"
	relayed.Asked = &daemon.WhyAsked{Route: "push", Took: 41200 * time.Microsecond}
	relayed.Path = &daemon.Path{Kind: "relayed", Via: "relay/tcp", Local: "192.0.2.5:40000", Remote: "203.0.113.3:51000", Reason: "RELAY_SYMMETRIC_BOTH"}
	relayed.Here.Symmetric, relayed.There = true, daemon.WhyNetwork{Symmetric: true, NoUDP: true, Mapping: "none"}
	relayed.Pairs = []daemon.WhyPair{
		{Kind: "direct", Via: "srflx/tcp", Remote: "198.51.100.9:40123", State: "no answer", Dials: 12, After: 150 * time.Millisecond, Error: "i/o timeout"},
		{Kind: "direct", Via: "srflx/udp", Remote: "198.51.100.9:40124", State: "not tried"},
		{Kind: "relayed", Via: "relay/tcp", Local: "192.0.2.5:40000", Remote: "203.0.113.3:51000", State: "chosen", Dials: 1, After: 310 * time.Millisecond},
	}
	failed := attempt(time.Minute, reason.PeerSilent)
	failed.Outcome, failed.Stage, failed.Error, failed.Relays = "failed", "signal", "signalling: call: no answer", "relay turn:u@relay.example:3478?transport=tcp: 486 allocation quota reached"
	failed.Called, failed.Asked = true, &daemon.WhyAsked{Took: 30 * time.Second}
	failed.Here.Filtered = true
	direct := attempt(2*time.Minute, reason.PunchedTCP)
	direct.Outcome, direct.Took = "direct", 870*time.Microsecond
	direct.Path = &daemon.Path{Kind: "direct", Via: "srflx/tcp", Local: "192.0.2.5:40000", Remote: "198.51.100.9:40123", Reason: "PUNCHED_TCP"}
	direct.Asked = &daemon.WhyAsked{Route: "slot"}
	direct.There.Mapping = "pcp"
	w.Path = direct.Path
	w.Attempts = append(w.Attempts, relayed, failed, direct)
	return w
}

// goldenAttempt is an attempt from here that took a third of a second.
func goldenAttempt(after time.Duration, code reason.Code) daemon.WhyAttempt {
	advice := reason.Explain(code)
	return daemon.WhyAttempt{
		Device: goldenPeer, Began: goldenTime.Add(after), Took: 312400 * time.Microsecond, Called: true, Stage: "session", Reason: string(code),
		Means: advice.Means, Change: advice.Change, Policy: "auto", Here: daemon.WhyNetwork{Mapping: "none"}, There: daemon.WhyNetwork{Mapping: "none"}, Pairs: []daemon.WhyPair{},
	}
}

// goldenWhyNoPath is a connection that never was: every pair, what became of it and when, and what would change that.
func goldenWhyNoPath() daemon.Why {
	w := goldenWhyNothing()
	w.Story = []daemon.WhyTurn{}
	at := goldenAttempt(0, reason.NoPath)
	at.Outcome, at.Stage, at.Took, at.Error = "failed", "negotiate", 20*time.Second, "connmgr: connect to 7qk3aaa: negotiate: ice: no path: context deadline exceeded"
	at.Here.Symmetric, at.There.NoUDP = true, true
	at.Pairs = []daemon.WhyPair{
		{Kind: "direct", Via: "host/tcp", Remote: "192.168.1.7:40123", State: "no connection", Dials: 21, After: 19800 * time.Millisecond, Error: "connect: no route to host"},
		{Kind: "direct", Via: "srflx/tcp", Local: "192.0.2.5:40000", Remote: "198.51.100.9:40123", State: "connected, no answer", Dials: 1, After: 120 * time.Millisecond},
		{Kind: "relayed", Via: "relay/tcp", Remote: "203.0.113.3:51000", State: "no connection", Dials: 9, After: 18 * time.Second, Error: "connect: connection refused"},
		{Kind: "direct", Via: "host/udp", Remote: "192.168.1.7:40124", State: "no answer", After: 20 * time.Millisecond},
		{Kind: "direct", Via: "host/tcp", Remote: "127.0.0.1:40123", State: "left out"},
	}
	w.Attempts = append(w.Attempts, at)
	return w
}

// goldenWhyLAN is a direct path on the same network.
func goldenWhyLAN() daemon.Why {
	w := goldenWhyNothing()
	at := goldenAttempt(0, reason.DirectLAN)
	at.Outcome, at.Took = "direct", 41*time.Millisecond
	at.Path = &daemon.Path{Kind: "direct", Via: "host/tcp", Local: "192.168.1.5:40000", Remote: "192.168.1.7:40123", Reason: "DIRECT_LAN"}
	at.Pairs = []daemon.WhyPair{
		{Kind: "direct", Via: "host/tcp", Local: "192.168.1.5:40000", Remote: "192.168.1.7:40123", State: "chosen", Dials: 1, After: 12 * time.Millisecond},
		{Kind: "relayed", Via: "relay/tcp", Remote: "203.0.113.3:51000", State: "not tried"},
	}
	w.Path, w.Attempts = at.Path, append(w.Attempts, at)
	w.Story = []daemon.WhyTurn{{Device: goldenPeer, Time: goldenTime, What: "began", Path: at.Path, Took: at.Took}}
	return w
}

// goldenWhyMoved is a session that began over the relay, moved to a direct path, lost it, and is over the relay again.
func goldenWhyMoved() daemon.Why {
	w := goldenWhyNothing()
	relayed := goldenAttempt(0, reason.RelayPunchTimeout)
	relayed.Outcome = "relayed"
	relayed.Path = &daemon.Path{Kind: "relayed", Via: "relay/tcp", Local: "192.0.2.5:40000", Remote: "203.0.113.3:51000", Reason: "RELAY_PUNCH_TIMEOUT"}
	direct := goldenAttempt(time.Minute, reason.PunchedTCP)
	direct.Outcome = "direct"
	direct.Path = &daemon.Path{Kind: "direct", Via: "srflx/tcp", Local: "192.0.2.5:40000", Remote: "198.51.100.9:40123", Reason: "PUNCHED_TCP"}
	back := *relayed.Path
	back.Reason = "RELAY_DIRECT_DEGRADED"
	w.Path, w.Attempts = &back, append(w.Attempts, relayed, direct)
	turn := func(after time.Duration, what string, path *daemon.Path) daemon.WhyTurn {
		return daemon.WhyTurn{Device: goldenPeer, Time: goldenTime.Add(after), What: what, Path: path}
	}
	began, moved, died, again := turn(0, "began", relayed.Path), turn(time.Minute, "moved", direct.Path), turn(2*time.Minute, "died", direct.Path), turn(2*time.Minute, "moved", &back)
	began.Took, moved.Took, again.Took = relayed.Took, direct.Took, 1200*time.Microsecond
	moved.From, moved.Alive = relayed.Path, true
	died.Error = "mux: no answer to a beacon"
	again.From, again.Kept = direct.Path, true
	w.Story = []daemon.WhyTurn{began, moved, died, again}
	return w
}

func goldenNetcheckAlone() daemon.Netcheck {
	return daemon.Netcheck{
		Envelope: goldenEnvelope("netcheck"), Time: goldenTime,
		UDP: []daemon.NetcheckNAT{{Family: "ipv4", Mapping: "unknown", Filtering: "unknown"}, {Family: "ipv6", Mapping: "unknown", Filtering: "unknown"}},
		TCP: daemon.NetcheckTCP{Error: "ice: no relay"}, PortMapping: daemon.NetcheckMapping{State: "off", How: "none", Ports: []daemon.NetcheckPort{}},
		DHT: daemon.DHTStatus{Mode: "mainline", Listen: "0.0.0.0:17000"}, Relays: []daemon.NetcheckRelay{},
		Warnings: []daemon.NetcheckWarning{
			{What: "no node of the DHT is known", Try: "see dht.bootstrap, and that UDP leaves this network"},
			{What: "there is no relay to ask, so that nothing is known of NATs", Try: "name one: [[relay]] in the configuration, or --relay"},
		},
	}
}

func goldenNetcheck() daemon.Netcheck {
	n := goldenNetcheckAlone()
	n.UDP = []daemon.NetcheckNAT{
		{Family: "ipv4", Mapping: "address-and-port-dependent", Filtering: "address-and-port-dependent", Mapped: "198.51.100.1:61000", Answered: 2},
		{Family: "ipv6", Mapping: "none", Filtering: "endpoint-independent", Mapped: "[2001:db8::5]:40000", Answered: 1},
	}
	n.TCP = daemon.NetcheckTCP{Known: true, Symmetric: true}
	n.PortMapping = daemon.NetcheckMapping{State: "mapped", How: "pcp", Outside: "198.51.100.1:40000", Ports: []daemon.NetcheckPort{
		{For: "paths", Protocol: "tcp", Family: "ipv4", Port: 40000, State: "mapped", How: "pcp", Outside: "198.51.100.1:40000"},
		{For: "paths", Protocol: "tcp", Family: "ipv6", Port: 40000, State: "none", How: "none", Error: "there is no router: no default route for IPv6"},
		{For: "dht", Protocol: "udp", Family: "ipv4", Port: 17000, State: "mapped", How: "upnp", Outside: "198.51.100.1:17000"},
	}}
	n.DHT.Nodes = 120
	ends := goldenTime.AddDate(0, 2, 0)
	n.Relays = []daemon.NetcheckRelay{
		{URL: "turns:relay.example:443?transport=tcp", Address: "203.0.113.3:443", Family: "ipv4", TCP: true, UDP: true, SetUp: 41 * time.Millisecond, RTT: 20400 * time.Microsecond, Expires: &ends},
		{URL: "turn:u@old.example:3478?transport=tcp", Address: "203.0.113.4:3478", Family: "ipv4", Error: "connection refused"},
	}
	n.Clock.Refused = 3
	n.Warnings = []daemon.NetcheckWarning{
		{What: "relay turn:u@old.example:3478?transport=tcp does not answer", Try: "turnd check 'turn:u@old.example:3478?transport=tcp'"},
	}
	return n
}

func goldenDoctor() daemon.Doctor {
	return daemon.Doctor{Envelope: goldenEnvelope("doctor"), Warnings: 2, Failures: 1, Findings: []daemon.Finding{
		{Check: "descriptors", Level: "warning", What: "1000 descriptors allowed, 1024 needed", Fix: "ulimit -n 1024; in a systemd unit LimitNOFILE=1024"},
		{Check: "clock", Level: "ok", What: "the clock is kept right"},
		{Check: "identity", Level: "failure", What: "there is no identity in /home/bob/.local/share/traverse/identity", Fix: "node init"},
		{Check: "daemon", Level: "warning", What: "the node is not running, so that DHT and relays were not looked at", Fix: "node up"},
	}}
}

// TestAdviceByTheInstalledName: what why, netcheck and doctor tell to try can be typed where the program is installed as traverse.
func TestAdviceByTheInstalledName(t *testing.T) {
	var out, errOut strings.Builder
	a := &app{name: calledAs("/usr/bin/traverse"), stdout: &out, stderr: &errOut}
	home := t.TempDir()
	if code := a.run(t.Context(), []string{"--home", home, "doctor"}); code != cli.ExitDoctorFailures || strings.Contains(out.String(), "try: node ") || !strings.Contains(out.String(), "try: traverse init\n") {
		t.Errorf("exit code %d:\n%s%s", code, out.String(), errOut.String())
	}
}
