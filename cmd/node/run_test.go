package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"syscall"
	"testing"
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
