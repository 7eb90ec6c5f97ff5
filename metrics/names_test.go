package metrics

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"traverse.internal/connmgr"
	"traverse.internal/core/ice"
	"traverse.internal/core/offload"
	"traverse.internal/core/reason"
	"traverse.internal/dht"
	"traverse.internal/internal/acme"
	"traverse.internal/signalling"
	"traverse.internal/signalling/lan"
	"traverse.internal/signalling/relay"
	"traverse.internal/transfer"
	"traverse.internal/turn"
	"traverse.internal/turn/mint"
	"traverse.internal/turn/push"
)

var update = flag.Bool("update", false, "rewrite the table in docs/metrics.md")

// everything is a program with all sources, each of which has something to show for
// every family.
func everything() Sources {
	var transfers transfer.Counters
	return Sources{
		Program: "node",
		Version: "v0",
		Manager: func() connmgr.Stats {
			return connmgr.Stats{
				Paths: map[connmgr.PathKind]uint64{
					{Kind: "direct", Via: "host/tcp", Reason: reason.DirectLAN}:     3,
					{Kind: "relayed", Via: "relay/tcp", Reason: reason.RelayPolicy}: 1,
				},
				Migrations: map[connmgr.Migration]uint64{{From: "relayed", To: "direct", Reason: reason.PunchedTCP}: 2},
				Sessions:   5, Lingering: 2, Draining: 1, Channels: 7,
			}
		},
		ICE:        func() ice.Stats { return ice.Stats{Direct: 3} },
		Signalling: func() signalling.Stats { return signalling.Stats{Calls: 5, CallsAnswered: 3, CallsFailed: 1} },
		Woken:      func() Woken { return Woken{Transfers: 2, Sessions: 1} },
		Push:       func() relay.Stats { return relay.Stats{Up: 1} },
		LAN:        func() lan.Stats { return lan.Stats{Calls: 1} },
		DHT: func() dht.Stats {
			return dht.Stats{Nodes: 5, GoodNodes: 3, Drops: map[dht.DropReason]uint64{dht.DropFlood: 1}}
		},
		Transfers: transfers.Stats,
		Account:   func() Account { return Account{Devices: 2, Expires: time.Unix(1, 0)} },
		ACME:      func() acme.Stats { return acme.Stats{Obtained: 1} },
		Mint:      func() mint.Stats { return mint.Stats{Minted: 1, Refused: map[string]uint64{"token": 1}} },
		Turnd: func() turn.Stats {
			return turn.Stats{
				Allocations:    []turn.AllocationCount{{Family: "4", Transport: "udp", Count: 2}},
				Relayed:        []turn.RelayCount{{Dir: "up", Family: "4", Mode: "batch", Packets: 10, Bytes: 1000}},
				AuthFailures:   map[string]uint64{"password": 1},
				DeniedPeers:    map[string]uint64{"special": 1},
				Drops:          map[string]uint64{"garbage": 1},
				Refusals:       map[string]uint64{"486": 1},
				Quotas:         map[string]uint64{"user_new_peers": 1},
				Streams:        3,
				Strangers:      1,
				DTLSHandshakes: map[string]uint64{"done": 1},
				CertExpires:    time.Unix(1, 0),
				Push:           &push.Stats{},
				Offload:        &offload.Stats{Relayed: []offload.Relayed{{Dir: "up", Family: "4"}}, Left: map[string]uint64{"mtu": 1}, Refused: map[string]uint64{"route": 1}},
			}
		},
	}
}

// registry is what a scrape of everything sees, the runtime's own metrics apart.
func registry() *prometheus.Registry {
	r := prometheus.NewPedanticRegistry()
	setup := everything().register(r)
	setup.WithLabelValues("direct").Observe(0.05)
	return r
}

// runtimes are the families that client_golang brings; they are its promises.
func runtimes(name string) bool {
	return strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_")
}

// TestNames: the table of docs/metrics.md is what is served, to the letter.
func TestNames(t *testing.T) {
	families, err := registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| name | type | labels | |\n|---|---|---|---|\n")
	for _, f := range families {
		if runtimes(f.GetName()) {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		slices.Sort(labels)
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp())
	}
	const path, from, to = "../docs/metrics.md", "<!-- names: go test ./metrics -update -->\n", "<!-- end of names -->\n"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(doc), from)
	old, tail, ok2 := strings.Cut(rest, to)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	if *update {
		if err := os.WriteFile(path, []byte(head+from+table.String()+to+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != table.String() {
		t.Errorf("%s has\n%s\nserved is\n%s\nA changed name or label is a line in CHANGELOG.md; then: go test ./metrics -update", path, old, table.String())
	}
}

// TestLint: what Prometheus' own rules say about the names.
func TestLint(t *testing.T) {
	problems, err := testutil.GatherAndLint(registry())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestLabels: no label can carry who talked to whom.
func TestLabels(t *testing.T) {
	families, err := registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	allowed := strings.Fields("kind transport reason state dir outcome what size mode family code le program version revision goversion quantile tls from to")
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !slices.Contains(allowed, l.GetName()) {
					t.Errorf("%s has a label %s", f.GetName(), l.GetName())
				}
			}
		}
	}
}

// TestValues: where a sample is more than a copy.
func TestValues(t *testing.T) {
	want := `
# HELP node_fallback_ratio Relayed paths among all established since the start; 0 before the first. For a window use the recording rule.
# TYPE node_fallback_ratio gauge
node_fallback_ratio 0.25
# HELP node_path_established_total Paths that came to carry a session, by kind, transport and why this one.
# TYPE node_path_established_total counter
node_path_established_total{kind="direct",reason="DIRECT_LAN",transport="tcp"} 3
node_path_established_total{kind="relayed",reason="RELAY_POLICY",transport="tcp"} 1
# HELP node_sessions Sessions with other devices.
# TYPE node_sessions gauge
node_sessions{state="connected"} 2
node_sessions{state="draining"} 1
node_sessions{state="lingering"} 2
# HELP node_signal_calls_active Calls begun and not ended.
# TYPE node_signal_calls_active gauge
node_signal_calls_active 1
# HELP turnd_streams TCP connections and DTLS sessions of clients, data connections included.
# TYPE turnd_streams gauge
turnd_streams{state="authenticated"} 2
turnd_streams{state="stranger"} 1
`
	names := []string{"node_fallback_ratio", "node_path_established_total", "node_sessions", "node_signal_calls_active", "turnd_streams"}
	if err := testutil.GatherAndCompare(registry(), strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

// TestNothingYet: a program that has just begun shows zeros, not divisions by them.
func TestNothingYet(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	var transfers transfer.Counters
	src := Sources{
		Manager: func() connmgr.Stats { return connmgr.Stats{} }, ICE: func() ice.Stats { return ice.Stats{} },
		Signalling: func() signalling.Stats { return signalling.Stats{} }, DHT: func() dht.Stats { return dht.Stats{} },
		Transfers: transfers.Stats, Turnd: func() turn.Stats { return turn.Stats{} },
	}
	src.register(r)
	want := "# HELP node_fallback_ratio Relayed paths among all established since the start; 0 before the first. For a window use the recording rule.\n" +
		"# TYPE node_fallback_ratio gauge\nnode_fallback_ratio 0\n"
	if err := testutil.GatherAndCompare(r, strings.NewReader(want), "node_fallback_ratio"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(r, "node_transfer_total"); err != nil || n != 2*14 {
		t.Errorf("node_transfer_total has %d series, %v; want every outcome of both directions", n, err)
	}
}

// TestPathSetup: kinds that are none do not become series.
func TestPathSetup(t *testing.T) {
	s, err := Listen("127.0.0.1:0", everything())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, kind := range []string{"direct", "relayed", "7QK3-somebody", "another"} {
		s.PathSetup(kind, 50*time.Millisecond)
	}
	if n := testutil.CollectAndCount(s.setup); n != 3 {
		t.Errorf("%d series, want direct, relayed and other", n)
	}
	bare, err := Listen("127.0.0.1:0", Sources{})
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	bare.PathSetup("direct", time.Second) // a relay alone makes no paths: ignored
}
