// Command turnd is Traverse's TURN server: relayed addresses over UDP and TCP for clients that cannot be reached themselves.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := untilSignal(context.Background())
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// untilSignal returns a context that ends with the first SIGINT or SIGTERM. The second one does what signals do: it ends the program now.
func untilSignal(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ended := make(chan struct{})
	go waitForSignal(ctx, cancel, signals, ended)
	return ctx, func() {
		cancel()
		<-ended
	}
}

// waitForSignal ends the context with the first signal, and leaves the second to the system.
func waitForSignal(ctx context.Context, cancel context.CancelFunc, signals chan os.Signal, ended chan<- struct{}) {
	defer close(ended)
	defer signal.Stop(signals)
	select {
	case <-signals:
		cancel()
	case <-ctx.Done():
	}
}
