package testnet

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"traverse.internal/internal/netlab"
)

// TestNotice: a file waits for a device that is not there, and whose next turn is some time away. The device comes up, behind a symmetric NAT as the sender is, and tells its contacts so
// through their relays: the transfer begins then. Counters hold that it was the notice: it woke one transfer, and one attempt was made, the one that reached the device, which called
// nobody.
func TestNotice(t *testing.T) {
	t.Parallel()
	program := nodeProgram(t)
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	a, b, begin, up := w.pushed(t, program, Symmetric, Symmetric)
	begin()
	up(a, "--signalling-patience", "2s") // with someone who is not there
	registered(t, a)
	file := filepath.Join(t.TempDir(), "letter")
	if err := os.WriteFile(file, []byte("when you are back"), 0o600); err != nil {
		t.Fatal(err)
	}
	var sent struct{ ID string }
	if out := a.run(t, "--json", "send", "--detach", file, "b"); json.Unmarshal([]byte(out), &sent) != nil || sent.ID == "" {
		t.Fatalf("send says %s", out)
	}
	var due time.Time
	a.follow(t, sent.ID, func(x shown) bool {
		due = x.RetryAt
		return x.State == "queued" && time.Until(due) > 12*time.Second
	})
	const attempts, woken, taken = `node_connect_attempts_total{dir="out"}`, `node_notices_woken_total{what="transfer"}`, `node_notices_total{what="taken"}`
	before := a.metrics(t)
	up(b)
	began := time.Now()
	a.follow(t, sent.ID, func(x shown) bool { return x.State == "done" })
	left := time.Until(due)
	after, called := a.metrics(t), b.metrics(t)
	if after[taken] < 1 || after[woken] != 1 || after[attempts]-before[attempts] != 1 || called[attempts] != 0 {
		t.Errorf("%v notices taken, %v transfers woken, %v attempts by the sender and %v by the other; want 1 or more, 1, 1 and 0\n%s",
			after[taken], after[woken], after[attempts]-before[attempts], called[attempts], a.run(t, "why", "b"))
	}
	t.Logf("done %v after the device was up, %v before the next turn", time.Since(began).Round(time.Millisecond), left.Round(time.Millisecond))
}
