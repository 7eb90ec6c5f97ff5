package testnet

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"traverse.internal/internal/netlab"
)

// idleEnv is for how long TestIdle looks: 3m, for example. docs/protocol/signalling.md 6 has what it says.
const idleEnv = "IDLE_RUN"

// TestIdle: what a whole node costs while nothing happens, with one contact and a relay, in a private DHT of ten nodes: the packets and bytes of its
// host, headers included, its lookups, and its processor time.
func TestIdle(t *testing.T) {
	span, err := time.ParseDuration(os.Getenv(idleEnv))
	if err != nil {
		t.Skipf("takes minutes: %s=3m runs it", idleEnv)
	}
	program := nodeProgram(t)
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	var meeting string
	for i := range 8 {
		site := w.Site(t, Public, 1)
		h := &home{host: site.Hosts[0], program: program}
		h.begin(t, fmt.Sprint("hub", i))
		at := fmt.Sprintf("%v:4222", site.Addrs[0][0])
		if i == 0 {
			meeting = at
			h.up(t, "--dht-listen", at)
		} else {
			h.up(t, "--dht-listen", at, "--bootstrap", meeting)
		}
	}
	site := w.Site(t, Public, 1)
	at := netip.AddrPortFrom(site.Addrs[0][0], 3478)
	w.start(t, "pushing relay", site.Hosts[0], plan{Relay: []netip.AddrPort{at}, Push: true})
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(relayPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var all []*home
	for _, name := range []string{"a", "b"} {
		n := &home{host: w.Site(t, Restricted, 1).Hosts[0], program: program}
		n.begin(t, name)
		all = append(all, n)
	}
	a, b := all[0], all[1]
	a.run(t, "contact", "add", "b", b.id)
	b.run(t, "contact", "add", "a", a.id)
	for _, n := range all {
		n.up(t, "--bootstrap", meeting, "--relay", "turn:"+relayUser+"@"+at.String()+"?transport=tcp", "--relay-password-file", password, "--metrics", counters)
	}
	registered(t, a)
	<-time.After(span / 6) // what belongs to the start
	before, cpu := a.cost(t), a.metrics(t)
	<-time.After(span)
	after, end := a.cost(t), a.metrics(t)
	hour := func(n float64) float64 { return n * float64(time.Hour) / float64(span) }
	// Twice what the page says, scaled: another machine's timers, strangers' queries. Not the processor's time, which others' load changes.
	bytes, gets, puts := hour(after[0]-before[0]+after[2]-before[2]), hour(end["dht_gets_total"]-cpu["dht_gets_total"]), hour(end["dht_puts_total"]-cpu["dht_puts_total"])
	if bytes > 27e6 || gets > 3800 || puts > 240 || gets == 0 {
		t.Errorf("an idle hour has %.0f bytes, %.0f gets and %.0f puts; want at most 27 MB, 3800 and 240", bytes, gets, puts)
	}
	t.Logf("measured in %v, for an hour: %.0f packets and %.0f bytes in, %.0f and %.0f out; %.0f gets, %.0f puts, %.0f queries asked; %.2f CPU s; %.1f MB resident", span,
		hour(after[1]-before[1]), hour(after[0]-before[0]), hour(after[3]-before[3]), hour(after[2]-before[2]),
		hour(end["dht_gets_total"]-cpu["dht_gets_total"]), hour(end["dht_puts_total"]-cpu["dht_puts_total"]),
		hour(end[`dht_queries_total{dir="out"}`]-cpu[`dht_queries_total{dir="out"}`]),
		hour(end["process_cpu_seconds_total"]-cpu["process_cpu_seconds_total"]), end["process_resident_memory_bytes"]/1e6)
}

// cost is what the host's interface has counted: bytes and packets in, bytes and packets out.
func (h *home) cost(t *testing.T) (n [4]float64) {
	t.Helper()
	for line := range strings.Lines(h.host.Run(t, "cat", "/proc/thread-self/net/dev")) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		if f := strings.Fields(rest); name == "eth0" && len(f) > 9 {
			for i, at := range []int{0, 1, 8, 9} {
				n[i], _ = strconv.ParseFloat(f[at], 64)
			}
			return n
		}
	}
	t.Fatal("no interface")
	return n
}
