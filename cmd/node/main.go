// Command node is Traverse's peer endpoint: a device identity, a daemon that reaches other devices by their id, and the commands that talk to it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"traverse.internal/internal/cli"
)

func main() {
	ctx, stop := untilSignal(context.Background())
	a := &app{name: calledAs(os.Args[0]), env: os.Environ(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	code := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// stopped is the cause of a context that a signal ended.
type stopped struct{ signal os.Signal }

func (s stopped) Error() string { return s.signal.String() }

// exitCode is what a shell reports of a program that the signal ended.
func (s stopped) exitCode() int {
	if s.signal == syscall.SIGTERM {
		return cli.ExitTerminated
	}
	return cli.ExitInterrupted
}

// untilSignal returns a context that ends with the first SIGINT or SIGTERM. The second one does what signals do: it ends the program now.
func untilSignal(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ended := make(chan struct{})
	go waitForSignal(ctx, cancel, signals, ended)
	return ctx, func() {
		cancel(nil)
		<-ended
	}
}

// waitForSignal ends the context with the first signal, and leaves the second to the system.
func waitForSignal(ctx context.Context, cancel context.CancelCauseFunc, signals chan os.Signal, ended chan<- struct{}) {
	defer close(ended)
	defer signal.Stop(signals)
	select {
	case s := <-signals:
		cancel(stopped{s})
	case <-ctx.Done():
	}
}
