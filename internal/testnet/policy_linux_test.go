package testnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"traverse.internal/internal/netlab"
)

// TestContactsPath: two real nodes that know each other, on networks that see each other only at times. `ping --until-direct` ends when it should and as it
// says; `contact set path=` moves the session that there is, on either side's word; and /metrics has counted all of it.
func TestContactsPath(t *testing.T) {
	t.Parallel()
	nodeProgram(t)
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	a, b, block, unblock := w.nodes(t, "--metrics", "127.0.0.1:9478")
	block()
	if code, out := a.try(t, "ping", "b", "--until-direct", "-c", "3", "-i", "100ms"); code != 16 || !strings.Contains(out, "via relayed relay/tcp") || !strings.Contains(out, "no direct path") {
		t.Errorf("ping --until-direct where there is no direct path: exit code %d, want 16\n%s", code, out)
	}
	unblock()
	if code, out := a.try(t, "ping", "b", "--until-direct", "-c", "600", "-i", "100ms"); code != 0 || !strings.Contains(out, "via direct host/") {
		t.Errorf("ping --until-direct where a direct path comes up: exit code %d, want 0\n%s", code, out)
	}

	a.run(t, "contact", "set", "b", "path=relay-only")
	a.goes(t, "b", "relayed", "RELAY_POLICY")
	a.run(t, "contact", "policy", "set", "b", "path=direct-only")
	a.goes(t, "b", "direct", "DIRECT_PUBLIC")
	// What the called side wants holds as well, and the stricter word of two.
	a.run(t, "contact", "set", "b", "path=auto")
	b.run(t, "contact", "set", "a", "path=relay-only")
	a.goes(t, "b", "relayed", "RELAY_POLICY", "RELAY_DIRECT_DEGRADED")
	b.goes(t, "a", "relayed", "RELAY_POLICY")
	a.run(t, "contact", "set", "b", "path=direct-only")
	if code, out := a.try(t, "ping", "b", "-c", "1"); code != 9 {
		t.Errorf("one side wants direct-only, the other relay-only: exit code %d, want 9, no path\n%s", code, out)
	}
	why := a.run(t, "why", "b", "--last", "1")
	if !regexp.MustCompile(`failed after .* at the step negotiate, policy direct-only\n(.*\n)?  reason  RELAY_POLICY`).MatchString(why) {
		t.Errorf("why says\n%s", why)
	}
	b.run(t, "contact", "set", "a", "path=off")
	a.goes(t, "b", "direct", "DIRECT_PUBLIC")
	// Where the direct path is gone a session that may not be relayed ends.
	block()
	if code, out := a.try(t, "--timeout", "25s", "ping", "b", "-c", "1"); code == 0 {
		t.Errorf("direct-only, and nothing comes through: it was reached\n%s", out)
	}
	a.noPath(t)

	page := a.host.Run(t, "curl", "-sf", "http://127.0.0.1:9478/metrics")
	for _, line := range []string{
		`node_path_setup_seconds_count\{kind="direct"\} [1-9]`,
		`node_path_setup_seconds_count\{kind="relayed"\} [1-9]`,
		`node_path_migrations_total\{from="relayed",reason="DIRECT_PUBLIC",to="direct"\} [1-9]`,
		`node_path_migrations_total\{from="direct",reason="RELAY_POLICY",to="relayed"\} [1-9]`,
		`node_path_established_total\{kind="relayed",reason="[A-Z_]+",transport="tcp"\} [1-9]`,
		`node_punch_attempts_total\{outcome="punched",transport="tcp"\} 0`,
		`node_punch_attempts_total\{outcome="failed",transport="udp"\} 0`,
		`node_fallback_ratio 0\.`,
	} {
		if !regexp.MustCompile(`(?m)^` + line).MatchString(page) {
			t.Errorf("/metrics has no %s", line)
		}
	}
	if t.Failed() {
		t.Logf("%s\n%s", a.run(t, "why", "b"), regexp.MustCompile(`(?m)^node_(path|punch|fallback).*\n`).FindAllString(page, -1))
	}
}

// noPath is what `why` says of a connection that came to nothing: every pair with its state and time, the decision, its reason, and what would change it.
func (h *home) noPath(t *testing.T) {
	t.Helper()
	var why struct {
		Attempts []struct {
			Outcome, Stage, Reason, Means, Change, Error, Policy string
			Pairs                                                []struct {
				Kind, Via, Remote, State string
				Dials                    int
				After                    int64 `json:"after_ns"`
			}
		}
	}
	out := h.run(t, "--json", "why", "b", "--last", "1")
	if err := json.Unmarshal([]byte(out), &why); err != nil || len(why.Attempts) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	at := why.Attempts[0]
	if at.Outcome != "failed" || at.Stage != "negotiate" || at.Reason != "NO_PATH" || at.Means == "" || at.Change == "" || at.Error == "" || len(at.Pairs) == 0 {
		t.Errorf("why says %s", out)
	}
	for _, p := range at.Pairs {
		if p.Kind != "direct" || p.Remote == "" || p.State == "" || p.State == "chosen" || p.Dials > 0 && p.After == 0 {
			t.Errorf("of a pair, why says %+v", p)
		}
	}
	t.Logf("%s", h.run(t, "why", "b", "--last", "1"))
}

// TestLateDHT: a node whose bootstrap node is out of reach when it starts is reached as soon as that is back.
func TestLateDHT(t *testing.T) {
	t.Parallel()
	nodeProgram(t)
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	table := "table inet silence {\n\tchain through {\n\t\ttype filter hook forward priority filter;\n\t\tudp dport 4222 drop\n\t}\n}\n"
	w.core.Feed(t, table, "nft", "-f", "-")
	a, b, _, _ := w.nodes(t)
	if code, out := a.try(t, "--timeout", "5s", "ping", "b", "-c", "1"); code == 0 {
		t.Fatalf("reached without a DHT\n%s", out)
	}
	if out := b.run(t, "status"); out == "" {
		t.Error("no status without a DHT")
	}
	w.core.Run(t, "nft", "delete", "table", "inet", "silence")
	began := time.Now()
	for {
		code, out := a.try(t, "--timeout", "20s", "ping", "b", "-c", "1")
		if code == 0 {
			break
		}
		if time.Since(began) > patience {
			t.Fatalf("not reached: exit code %d\n%s", code, out)
		}
	}
	t.Logf("reached %v after the DHT was back", time.Since(began).Round(time.Millisecond))
}

// nodes are two real ones on public networks, contacts of each other, that meet at a third and have the relay; block makes the Internet drop what is between
// the two.
func (w *world) nodes(t *testing.T, flags ...string) (a, b *home, block, unblock func()) {
	t.Helper()
	program := nodeProgram(t)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(relayPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hub := w.Site(t, Public, 1)
	meeting := fmt.Sprintf("%v:4222", hub.Addrs[0][0])
	h := &home{host: hub.Hosts[0], program: program}
	h.begin(t, "hub")
	h.up(t, "--dht-listen", meeting)
	sites := []*Site{w.Site(t, Public, 1), w.Site(t, Public, 1)}
	a, b = &home{host: sites[0].Hosts[0], program: program}, &home{host: sites[1].Hosts[0], program: program}
	a.begin(t, "a")
	b.begin(t, "b")
	a.run(t, "contact", "add", "b", b.id)
	b.run(t, "contact", "add", "a", a.id)
	for i, n := range []*home{a, b} {
		n.up(t, append([]string{
			"--dht-listen", fmt.Sprintf("%v:4222", sites[i].Addrs[0][0]), "--bootstrap", meeting,
			"--relay", "turn:" + relayUser + "@" + w.server(Public) + "?transport=tcp", "--relay-password-file", password,
		}, flags...)...)
	}
	block, unblock = w.between(t, sites[0], sites[1])
	return a, b, block, unblock
}

// try is run for a command that may fail: its exit code, and all that it printed.
func (h *home) try(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	cmd := exec.Command(h.program, append([]string{"--home", h.path}, args...)...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	h.host.Start(t, cmd)
	unbound := netlab.Bound(cmd.Process, netlab.Patience)
	err := cmd.Wait()
	unbound()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), said.String()
}

// goes waits until pings go that way, by one of the reasons.
func (h *home) goes(t *testing.T, who, kind string, reasons ...string) {
	t.Helper()
	var out string
	want := regexp.MustCompile(`via ` + kind + ` \S+ \((` + strings.Join(reasons, "|") + `)\)`)
	for began := time.Now(); time.Since(began) < patience; {
		if _, out = h.try(t, "ping", who, "-c", "1"); want.MatchString(out) {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	t.Fatalf("pings go otherwise, want %s by %v\n%s\n%s", kind, reasons, out, h.run(t, "why", who))
}
