package testnet

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"traverse.internal/internal/netlab"
)

// showEnv is how many MiB TestShowMove sends; `make show-move` says 1024.
const showEnv = "SHOW_MOVE"

// showTime is how long the transfer is made to take, by its limit: some seconds for each of its three parts.
const showTime = 16 * time.Second

// storyOfSender and storyOfReceiver are what `node why` tells at both ends, without its times. The sender notices the death of the direct path, as it has
// bytes on the way; the receiver follows.
const (
	storyOfSender = `began on relayed relay/tcp (REASON) after N
moved to direct host/X (DIRECT_PUBLIC) after N, while the link before lived
direct host/X died: mux: no answer to a beacon
moved to relayed relay/tcp (RELAY_DIRECT_DEGRADED) after N, back on the link that was kept
`
	storyOfReceiver = `began on relayed relay/tcp (REASON) after N
moved to direct host/X (DIRECT_PUBLIC) after N, while the link before lived
moved to relayed relay/tcp (RELAY_DIRECT_DEGRADED) after N, back on the link that was kept, as the other side asked
`
)

// TestShowMove: a transfer between two real nodes that starts relayed is moved to a direct path while it runs, loses that without a word, and goes on over the
// relay: one transfer, equal bytes, and `node why` tells the story.
func TestShowMove(t *testing.T) {
	t.Parallel()
	nodeProgram(t)
	if !netlab.Alone(t) {
		return
	}
	size := int64(32)
	if s := os.Getenv(showEnv); s != "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 1 {
			t.Fatalf("%s=%s is no number of MiB", showEnv, s)
		}
		size = n
	}
	w := newWorld(t)
	a, b, block, unblock := w.nodes(t)
	block()
	file := filepath.Join(t.TempDir(), "show.bin")
	want := makeFile(t, file, size<<20)
	began := time.Now()
	var sent struct{ ID string }
	limit := fmt.Sprintf("%dKiB/s", size<<10/int64(showTime/time.Second))
	out := a.run(t, "--json", "send", "--detach", "--limit", limit, file, "b")
	if err := json.Unmarshal([]byte(out), &sent); err != nil || sent.ID == "" {
		t.Fatalf("%v: %s", err, out)
	}
	var said strings.Builder
	say := func(format string, args ...any) {
		fmt.Fprintf(&said, "%6.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	at := a.follow(t, sent.ID, func(x shown) bool { return x.Bytes > size<<20/8 })
	say("%d MiB are there, %s %s (%s)", at.Bytes>>20, at.Path.Kind, at.Path.Via, at.Path.Reason)
	if at.Path.Kind != "relayed" {
		t.Fatalf("it began %+v", at.Path)
	}
	unblock()
	say("the networks let both see each other")
	at = a.follow(t, sent.ID, func(x shown) bool { return x.Path.Kind == "direct" })
	say("moved: %d MiB are there, %s %s (%s)", at.Bytes>>20, at.Path.Kind, at.Path.Via, at.Path.Reason)
	moved := at.Bytes
	a.follow(t, sent.ID, func(x shown) bool { return x.Bytes > moved+size<<20/8 })
	block()
	say("nftables drops every packet between the two")
	at = a.follow(t, sent.ID, func(x shown) bool { return x.Path.Kind == "relayed" })
	say("moved: %d MiB are there, %s %s (%s)", at.Bytes>>20, at.Path.Kind, at.Path.Via, at.Path.Reason)
	at = a.follow(t, sent.ID, func(x shown) bool { return x.State == "done" })
	say("done: %d MiB in one transfer, %s", at.Bytes>>20, sent.ID)
	got := sum(t, filepath.Join(b.path, "inbox", "show.bin"))
	if got != want {
		t.Errorf("SHA-256 of what came is %s, sent was %s", got, want)
	}
	say("SHA-256 at both ends: %s", got[:16])
	senders, receivers := a.run(t, "why", "b"), b.run(t, "why", "a")
	if got := story(senders); got != storyOfSender {
		t.Errorf("the sender tells\n%s\nwant\n%s\n%s", got, storyOfSender, senders)
	}
	if got := story(receivers); got != storyOfReceiver {
		t.Errorf("the receiver tells\n%s\nwant\n%s\n%s", got, storyOfReceiver, receivers)
	}
	t.Logf("\n%s\n%s\n%s", said.String(), senders, receivers)
	if os.Getenv(updateEnv) != "" && !t.Failed() {
		writeMove(t, size, said.String(), storyLines(senders), storyLines(receivers))
	}
}

// between returns what makes the Internet drop all packets between two sites, and what ends that.
func (w *world) between(t *testing.T, x, y *Site) (block, unblock func()) {
	block = func() { w.drop(t, x, y, true, "") }
	return block, func() { w.core.Run(t, "nft", "delete", "table", "inet", "between") }
}

// shown is what `node transfers show` says of a transfer.
type shown struct {
	State   string
	Error   any
	Path    struct{ Kind, Via, Reason string }
	RetryAt time.Time `json:"retry_at"`
	Bytes   int64
}

// follow asks for a transfer until it is as wanted.
func (h *home) follow(t *testing.T, id string, until func(shown) bool) (x shown) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(5 * time.Minute); time.Now().Before(limit); <-tick.C {
		out := h.run(t, "--json", "transfers", "show", id)
		x = shown{}
		if err := json.Unmarshal([]byte(out), &x); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if until(x) {
			return x
		}
		if x.State == "failed" || x.State == "done" {
			t.Fatalf("it ended too soon: %s\n%s", out, h.run(t, "why", "b"))
		}
	}
	t.Fatalf("it stays %+v\n%s", x, h.run(t, "why", "b"))
	return x
}

func makeFile(t *testing.T, path string, size int64) (sha string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8([32]byte{3}), size); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func sum(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// storyLines are those of what `why` prints that tell what happened to the links.
func storyLines(why string) string {
	return strings.Join(regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  .*\n`).FindAllString(why, -1), "")
}

// story is storyLines without what differs from run to run. Which reason the first path had is another test's (TestReach).
func story(why string) string {
	s := regexp.MustCompile(`(?m)^.{23}  `).ReplaceAllString(storyLines(why), "")
	s = regexp.MustCompile(`after [0-9.]+[mµ]?s`).ReplaceAllString(s, "after N")
	s = regexp.MustCompile(`host/(tcp|udp)`).ReplaceAllString(s, "host/X") // TCP has its head start behind it when the way becomes free
	return regexp.MustCompile(`(began on .*)\([A-Z_]+\)`).ReplaceAllString(s, "$1(REASON)")
}

// writeMove puts what a run printed to the page.
func writeMove(t *testing.T, size int64, said, sender, receiver string) {
	t.Helper()
	text := fmt.Sprintf("Run of %s, %d MiB:\n\n```\n%s```\n\n`node why` at the sender:\n\n```\n%s```\n\nand at the receiver:\n\n```\n%s```\n",
		time.Now().UTC().Format(time.DateOnly), size, said, sender, receiver)
	if err := os.WriteFile(movePage, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(raw), moveHead)
	if err := os.WriteFile(page, []byte(before+tailOf(t)), 0o644); err != nil {
		t.Fatal(err)
	}
}
