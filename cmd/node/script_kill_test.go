package main

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"
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

// killathalf HOME NAME ID: SIGKILL to the program that runs as NAME in the background when half of the transfer ID has come to the home that it serves.
func cmdKillAtHalf(ts *testscript.TestScript, _ bool, args []string) {
	killAt(ts, args[0], args[1], args[2], 0.5)
}

func killAt(ts *testscript.TestScript, home, name, id string, part float64) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := daemon.NewClient(daemon.HomeAt(ts.MkAbs(home)).Socket)
	for {
		list, err := c.Transfers(ctx)
		if err != nil {
			ts.Fatalf("killat %s: %v", home, err)
		}
		for _, t := range list.Transfers {
			if t.ID != id || float64(t.Bytes) < part*float64(t.Size) {
				continue
			}
			if t.State.Ended() {
				ts.Fatalf("killat: the transfer is %s already", t.State)
			}
			kill(ts, name, home)
			ts.Logf("killed %s at %d of %d bytes", home, t.Bytes, t.Size)
			return
		}
		<-time.After(time.Millisecond)
	}
}

// kill sends SIGKILL to a background program and waits until it has gone; the script goes on without it.
func kill(ts *testscript.TestScript, name, home string) {
	for _, cmd := range ts.BackgroundCmds() {
		if strings.Contains(strings.Join(cmd.Args, " ")+" ", " --home "+home+" up ") && cmd.Process.Kill() == nil {
			deadline := time.Now().Add(quickExit)
			for !time.Now().After(deadline) {
				if _, err := daemon.NewClient(daemon.HomeAt(ts.MkAbs(home)).Socket).Status(context.Background()); err != nil {
					return
				}
			}
		}
	}
	ts.Fatalf("%s does not run in %s", name, home)
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
