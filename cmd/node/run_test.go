package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"traverse.internal/daemon"
)

// TestInterrupted: a command that a signal ended has the exit code that shells give it, and says so once.
func TestInterrupted(t *testing.T) {
	for signal, want := range map[os.Signal]int{os.Interrupt: 130, syscall.SIGTERM: 143} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(stopped{signal})
		var out, errOut bytes.Buffer
		got := run(ctx, []string{"--home", t.TempDir(), "--json", "status"}, nil, &out, &errOut)
		var object struct {
			Error struct {
				Code string
				Exit int
			}
		}
		if err := json.Unmarshal(out.Bytes(), &object); err != nil || errOut.Len() > 0 {
			t.Fatalf("%v: printed %q and %q, want one object: %v", signal, out.String(), errOut.String(), err)
		}
		if got != want || object.Error.Exit != want || object.Error.Code != "E_INTERRUPTED" {
			t.Errorf("%v: exit code %d, %+v; want %d and E_INTERRUPTED", signal, got, object.Error, want)
		}
	}
}

// TestUntilSignal: the first signal ends the context and is its cause.
func TestUntilSignal(t *testing.T) {
	ctx, stop := untilSignal(t.Context())
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if cause := context.Cause(ctx); cause != (stopped{syscall.SIGTERM}) {
		t.Errorf("cause = %v, want SIGTERM", cause)
	}
}

func TestProgressText(t *testing.T) {
	path := &daemon.Path{Kind: "direct", Via: "host/tcp"}
	phone := daemon.PeerRef{Name: "phone"}
	for _, c := range []struct {
		t    daemon.Transfer
		want string
	}{
		{
			daemon.Transfer{Peer: phone, State: daemon.StateConnecting, Size: 1 << 20},
			"phone  connecting  [....................]  0%  0 B/1.0 MiB",
		},
		{
			daemon.Transfer{Peer: phone, State: daemon.StateSending, Path: path, Bytes: 121 << 20, Size: 256 << 20, RateBPS: 1 << 20},
			"phone  sending  direct host/tcp  [#########...........]  47%  121.0 MiB/256.0 MiB  1.0 MiB/s  eta 2:15",
		},
		{
			daemon.Transfer{Peer: phone, State: daemon.StateDone, Path: path, Bytes: 5, Size: 5, RateBPS: 10},
			"phone  done  direct host/tcp  [####################]  100%  5 B/5 B  10 B/s",
		},
		{
			daemon.Transfer{Peer: phone, State: daemon.StateDone},
			"phone  done  [####################]  100%  0 B/0 B",
		},
	} {
		if got := progressText(c.t, bar(c.t)); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// TestProgressLines: elsewhere than on a terminal a line is not repeated; on one it is rewritten and never wraps.
func TestProgressLines(t *testing.T) {
	waiting := daemon.Transfer{Peer: daemon.PeerRef{Name: "phone"}, State: daemon.StateOffered, Size: 1}
	var out strings.Builder
	p := &progress{w: &out, every: time.Second}
	p.line(waiting)
	p.line(waiting)
	p.end()
	if got, want := out.String(), "phone  offered  0%  0 B/1 B\n"; got != want {
		t.Errorf("to a file: %q, want %q", got, want)
	}
	out.Reset()
	p = &progress{w: &out, width: func() int { return 16 }}
	p.line(waiting)
	p.end()
	if got, want := out.String(), "\r\033[Kphone  offered \n"; got != want {
		t.Errorf("on a terminal of 16 columns: %q, want %q", got, want)
	}
}
