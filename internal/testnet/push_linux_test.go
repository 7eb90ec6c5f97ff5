package testnet

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"traverse.internal/internal/netlab"
)

// TestPush: two real nodes behind symmetric NATs, so that neither can be asked straight. The called one keeps a connection to its relay, and is reached
// through that at once: the counters of both say that nothing was left in a slot for the request, and that nobody looked for one. With the relay killed the call goes by slot;
// when it is back, so are the registration and the push. Paths go over another relay, which does not push.
func TestPush(t *testing.T) {
	t.Parallel()
	program := nodeProgram(t)
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	a, b, begin, up := w.pushed(t, program, Symmetric, Symmetric)
	relay := begin()
	up(a)
	up(b)
	registered(t, b)
	byPush(t, a, b, "at first")
	relay.kill(t)
	b.until(t, "the registration's end", func() bool { return b.count(t, "node_push_registrations") == 0 })
	took, route := a.reach(t)
	if route != "slot" {
		t.Errorf("without its relay it was reached by %q", route)
	}
	t.Logf("measured: by slot, answered after %v", took.Round(time.Millisecond))
	begin()
	registered(t, b)
	byPush(t, a, b, "with the relay back")
}

// pushed makes two real nodes in networks of these kinds, contacts of each other, that know a relay that pushes, and another for their paths; begin starts the pushing one, up
// a node.
func (w *world) pushed(t *testing.T, program string, kinds ...Kind) (a, b *home, begin func() *station, up func(n *home, flags ...string)) {
	t.Helper()
	hub := w.Site(t, Public, 1)
	meeting := fmt.Sprintf("%v:4222", hub.Addrs[0][0])
	h := &home{host: hub.Hosts[0], program: program}
	h.begin(t, "hub")
	h.up(t, "--dht-listen", meeting)

	site := w.Site(t, Public, 1)
	pushing := netip.AddrPortFrom(site.Addrs[0][0], 3478)
	begin = func() *station {
		return w.start(t, "pushing relay", site.Hosts[0], plan{Relay: []netip.AddrPort{pushing}, Push: true})
	}

	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(relayPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	configs := map[*home]string{}
	for i, at := range []**home{&a, &b} {
		*at = &home{host: w.Site(t, kinds[i], 1).Hosts[0], program: program}
		(*at).begin(t, string('a'+rune(i)))
		var config strings.Builder
		for _, server := range []string{pushing.String(), w.server(kinds[i])} {
			fmt.Fprintf(&config, "[[relay]]\nurl = \"turn:%s@%s?transport=tcp\"\npassword_file = %q\n", relayUser, server, password)
		}
		configs[*at] = filepath.Join((*at).path, "config.toml")
		if err := os.WriteFile(configs[*at], []byte(config.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a.run(t, "contact", "add", "b", b.id)
	b.run(t, "contact", "add", "a", a.id)
	return a, b, begin, func(n *home, flags ...string) {
		n.up(t, append([]string{"--config", configs[n], "--bootstrap", meeting, "--metrics", counters}, flags...)...)
	}
}

// counters is where nodes have their /metrics.
const counters = "127.0.0.1:9464"

// registered waits until b is registered.
func registered(t *testing.T, b *home) {
	t.Helper()
	b.until(t, "a registration", func() bool { return b.count(t, "node_push_registrations") == 1 })
}

// byPush calls b from a until a call goes by push alone: neither of the two has polled meanwhile, and the caller has written no slot. Both do so by themselves, too,
// every two seconds and every minute, and the relay is in the record a moment after the registration only; so some calls prove nothing.
func byPush(t *testing.T, a, b *home, when string) {
	t.Helper()
	const tries = 20
	for range tries {
		before, called := a.counts(t), b.counts(t)
		took, route := a.reach(t)
		after, done := a.counts(t), b.counts(t)
		if after.notices != before.notices || done.notices != called.notices {
			continue // they go the same way, and are counted there
		}
		if route != "push" || after.polls != before.polls || done.polls != called.polls || after.puts != before.puts {
			continue
		}
		if after.pushed-before.pushed != 1 || done.received-called.received != 1 || after.answers-before.answers != 1 {
			t.Errorf("%s: pushed %v, received %v, answers %v; want 1 each", when, after.pushed-before.pushed, done.received-called.received, after.answers-before.answers)
		}
		t.Logf("measured: by push, %s, answered after %v", when, took.Round(100*time.Microsecond))
		return
	}
	t.Errorf("%s: none of %d calls went by push, without a poll and a slot", when, tries)
}

// reach makes a session with b, ends it, and returns how long the request took, and by which route.
func (a *home) reach(t *testing.T) (time.Duration, string) {
	t.Helper()
	a.run(t, "--timeout", "60s", "ping", "b", "-c", "1")
	var why struct {
		Attempts []struct {
			Called  bool
			Outcome string
			Asked   struct {
				Route string
				Took  time.Duration `json:"took_ns"`
			}
		}
	}
	out := a.run(t, "--json", "why", "b")
	if err := json.Unmarshal([]byte(out), &why); err != nil {
		t.Fatal(err)
	}
	a.run(t, "kick", "b")
	for i := len(why.Attempts) - 1; i >= 0; i-- {
		if at := why.Attempts[i]; at.Called && at.Outcome != "failed" && at.Asked.Route != "session" {
			return at.Asked.Took, at.Asked.Route
		}
	}
	t.Fatalf("no attempt: %s", out)
	return 0, ""
}

// callCounts are what a call may change.
type callCounts struct{ polls, puts, pushed, received, answers, notices float64 }

func (h *home) counts(t *testing.T) callCounts {
	t.Helper()
	m := h.metrics(t)
	return callCounts{
		polls: m["dht_polls_total"], puts: m["dht_puts_total"],
		pushed: m[`node_push_calls_total{outcome="pushed"}`], received: m[`node_push_requests_total{what="received"}`], answers: m["node_push_answers_total"],
		notices: m[`node_notices_total{what="made"}`] + m[`node_notices_total{what="taken"}`],
	}
}

func (h *home) count(t *testing.T, name string) float64 {
	t.Helper()
	return h.metrics(t)[name]
}

// metrics asks for the counters, from the host.
func (h *home) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	var conn net.Conn
	var err error
	h.host.Do(t, func() { conn, err = net.Dial("tcp", counters) })
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /metrics HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok && !strings.HasPrefix(name, "#") {
			if v, err := strconv.ParseFloat(value, 64); err == nil {
				all[name] = v
			}
		}
	}
	return all
}

func (h *home) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(90 * time.Second); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 90 s; %s", what, h.run(t, "status"))
		}
	}
}
