package testnet

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"traverse.internal/internal/netlab"
)

// TestUDPThroughARelay: two real nodes that nothing leads to each other, whose TCP reaches the relay's port 3478 and nothing else, and a relay that
// lends UDP ports only. They connect over UDP through the relay, a file arrives whole, and `why` says which way it went.
func TestUDPThroughARelay(t *testing.T) {
	t.Parallel()
	nodeProgram(t)
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	w.relayed.end(t)
	w.noTCP = true
	w.startRelay(t)
	a, b, block, _ := w.nodes(t)
	block()
	w.core.Feed(t, `table inet filtered {
	chain through {
		type filter hook forward priority filter;
		`+fmt.Sprintf("ip daddr %v tcp dport 3478 accept\n\t\tip saddr %[1]v tcp sport 3478 accept", w.relay[0])+`
		meta l4proto tcp drop
	}
}
`, "nft", "-f", "-")

	a.goes(t, "b", "relayed", "RELAY_[A-Z_]+")
	if out := a.run(t, "ping", "b", "-c", "1"); !strings.Contains(out, "via relayed relay/udp") {
		t.Errorf("ping says\n%s", out)
	}
	file := filepath.Join(t.TempDir(), "file.bin")
	want := makeFile(t, file, 4<<20)
	var sent struct{ ID string }
	out := a.run(t, "--json", "send", "--detach", file, "b")
	if err := json.Unmarshal([]byte(out), &sent); err != nil || sent.ID == "" {
		t.Fatalf("%v: %s", err, out)
	}
	a.follow(t, sent.ID, func(x shown) bool { return x.State == "done" })
	if got := sum(t, filepath.Join(b.path, "inbox", "file.bin")); got != want {
		t.Errorf("the file arrived as %s, want %s", got, want)
	}
	why := a.run(t, "why", "b")
	if !regexp.MustCompile(`b is connected, relayed relay/udp \(RELAY_[A-Z_]+\)`).MatchString(why) ||
		!regexp.MustCompile(`(?m)^ *pair +relayed relay/udp .* chosen`).MatchString(why) {
		t.Errorf("why says\n%s", why)
	}
	t.Logf("\n%s", why)
}
