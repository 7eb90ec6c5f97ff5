// Command turnd is Traverse's TURN server: relayed addresses over UDP and TCP for clients that cannot be reached themselves.
package main

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

func main() {
	ctx, sig, stop := untilSignal(context.Background())
	a := &app{env: os.Environ(), stdout: os.Stdout, stderr: os.Stderr, signals: sig}
	code := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// signals are those that a server in operation answers. Until it does, they end the program.
type signals struct {
	serving   atomic.Bool
	hup, term chan struct{}
}

func newSignals() *signals {
	return &signals{hup: make(chan struct{}, 1), term: make(chan struct{}, 1)}
}

// untilSignal returns a context that ends with a signal: SIGINT, or a SIGTERM that no server takes as the order to drain.
// The next one does what signals do: it ends the program now.
func untilSignal(parent context.Context) (context.Context, *signals, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	sig := newSignals()
	arrived := make(chan os.Signal, 4)
	signal.Notify(arrived, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	ended := make(chan struct{})
	go sig.waitForSignal(ctx, cancel, arrived, ended)
	return ctx, sig, func() {
		cancel()
		<-ended
	}
}

// waitForSignal hands signals to the server, and ends the context with the first that is not for it. The one after that is
// the system's.
func (s *signals) waitForSignal(ctx context.Context, cancel context.CancelFunc, arrived chan os.Signal, ended chan<- struct{}) {
	defer close(ended)
	defer signal.Stop(arrived)
	for draining := false; ; {
		select {
		case <-ctx.Done():
			return
		case sig := <-arrived:
			switch {
			case sig == syscall.SIGHUP && s.serving.Load():
				poke(s.hup)
			case sig == syscall.SIGTERM && s.serving.Load() && !draining:
				draining = true
				poke(s.term)
			default:
				cancel()
				return
			}
		}
	}
}

// poke leaves a message unless there is one already.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
