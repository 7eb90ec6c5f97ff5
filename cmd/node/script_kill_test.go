package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"traverse.internal/daemon"
)

// showEnv is how many MiB show-killed.txtar sends; `make show-killed` says 2048.
const showEnv = "SHOW_KILLED"

// showBytes is the size that show-killed.txtar sends. No multiple of a chunk, so that the last one is short.
func showBytes(t *testing.T) string {
	mib := int64(96)
	if s := os.Getenv(showEnv); s != "" {
		var err error
		if mib, err = strconv.ParseInt(s, 10, 32); err != nil || mib < 8 {
			t.Fatalf("%s=%s is no number of MiB from 8 up", showEnv, s)
		}
	}
	return strconv.FormatInt(mib<<20-12345, 10)
}

// killat HOME ID PERCENT: SIGKILL to the node of the home when so much of the transfer is there, or has gone, and the transfer is not over. With two percentages,
// LEAST MOST, it is a random part between them.
func cmdKillAt(ts *testscript.TestScript, _ bool, args []string) {
	home, id := args[0], args[1]
	part := percentage(ts, args[2])
	if len(args) > 3 {
		part += rand.Float64() * (percentage(ts, args[3]) - part)
	}
	atPart(ts, home, id, part)
	kill(ts, home)
}

// atpart HOME ID PERCENT: until so much of the transfer is there, or has gone.
func cmdAtPart(ts *testscript.TestScript, _ bool, args []string) {
	atPart(ts, args[0], args[1], percentage(ts, args[2]))
}

func percentage(ts *testscript.TestScript, s string) float64 {
	p, err := strconv.ParseFloat(s, 64)
	ts.Check(err)
	return p / 100
}

func atPart(ts *testscript.TestScript, home, id string, part float64) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := daemon.NewClient(daemon.HomeAt(ts.MkAbs(home)).Socket)
	for {
		list, err := c.Transfers(ctx)
		if err != nil {
			ts.Fatalf("looking at %s: %v", home, err)
		}
		for _, t := range list.Transfers {
			moves := t.State == daemon.StateSending || t.State == daemon.StateReceiving || t.State.Ended()
			if t.ID != id || !moves || float64(t.Bytes) < part*float64(t.Size) {
				continue
			}
			if t.State.Ended() {
				ts.Fatalf("looking at %s: the transfer is %s already", home, t.State)
			}
			ts.Logf("%s is at %d of %d bytes", home, t.Bytes, t.Size)
			return
		}
		<-time.After(time.Millisecond)
	}
}

// kill sends SIGKILL to a home's node and waits until it has gone; the script goes on without it.
func kill(ts *testscript.TestScript, home string) {
	for _, cmd := range ts.BackgroundCmds() {
		if !strings.Contains(strings.Join(cmd.Args, " ")+" ", " --home "+home+" up ") || cmd.Process.Kill() != nil {
			continue
		}
		for deadline := time.Now().Add(patience); cmd.Process.Signal(syscall.Signal(0)) == nil; <-time.After(time.Millisecond) {
			if time.Now().After(deadline) {
				ts.Fatalf("%s still runs after SIGKILL", home)
			}
		}
		return
	}
	ts.Fatalf("no node runs in %s", home)
}

// resent MOST: the last stdout is a transfer of which so many bytes at most were sent twice.
func cmdResent(ts *testscript.TestScript, _ bool, args []string) {
	most, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	var shown struct {
		Resent *int64 `json:"resent_bytes"`
	}
	raw := ts.ReadFile("stdout")
	ts.Check(json.Unmarshal([]byte(raw), &shown))
	if shown.Resent == nil || *shown.Resent < 0 || *shown.Resent > most {
		ts.Fatalf("more was sent twice than %d bytes, or it does not say:\n%s", most, raw)
	}
	ts.Logf("%d bytes were sent twice", *shown.Resent)
}
