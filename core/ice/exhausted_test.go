package ice

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"traverse.internal/core/reason"
)

// nowhere is an offer whose addresses lead to a port where nobody is, over TCP and UDP.
func nowhere(o Offer) Offer {
	for i, c := range o.Candidates {
		o.Candidates[i].Addr = netip.AddrPortFrom(c.Addr.Addr(), 9)
	}
	for i, r := range o.Relays {
		o.Relays[i] = netip.AddrPortFrom(r.Addr(), 9)
	}
	return o
}

// TestExhausted: when its own tries are over, and those of the peer must be, the offerer says so at once, however long it might have waited: with direct paths alone, and with the
// reason of its relay where that is dead.
func TestExhausted(t *testing.T) {
	dead := []Relay{{Server: "127.0.0.1:9", Username: "u", Password: "p"}}
	for name, c := range map[string]struct {
		cfg  Config
		want reason.Code
	}{
		"direct only":      {Config{Policy: DirectOnly}, reason.NoPath},
		"no relay":         {Config{}, reason.NoPath},
		"a relay is dead":  {Config{Relays: dead}, reason.RelayUnreachable},
		"over TCP alone":   {Config{TCPOnly: true}, reason.NoPath},
		"direct, and dead": {Config{Policy: DirectOnly, Relays: dead}, reason.NoPath},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.cfg.NegotiateTimeout, c.cfg.window = time.Hour, 300*time.Millisecond
			caller, called := gatherTwo(t, c.cfg)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // only a failing test waits for it
			defer cancel()
			_, err := caller.Negotiate(ctx, Offerer, nowhere(called.Offer()))
			var no *NoPathError
			if !errors.As(err, &no) || no.Code != c.want || !errors.Is(err, errNothing) || !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
				t.Fatalf("ended with %v, want %s for want of anything more", err, c.want)
			}
			if len(no.Tries) == 0 || no.Tries[0].State == "not tried" {
				t.Errorf("tries %v", no.Tries)
			}
		})
	}
}

// TestLateCandidates: what the peer dials before its last moment still makes a path, though all that we dialled has failed by then.
func TestLateCandidates(t *testing.T) {
	t.Parallel()
	var err error
	for range 5 { // the moment is half a second, and this machine may be busy
		if err = lateCandidate(t); err == nil {
			return
		}
	}
	t.Error(err)
}

func lateCandidate(t *testing.T) error {
	caller, called := gatherTwo(t, Config{NegotiateTimeout: time.Hour, TCPOnly: true, window: 300 * time.Millisecond})
	ours, theirs := caller.Offer(), called.Offer()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for !dialsEnded(caller) && ctx.Err() == nil {
			<-tick.C
		}
		p, err := called.Negotiate(ctx, Answerer, ours)
		if err == nil {
			_, err = p.Conn.Write([]byte{0x16, 3})
			defer p.Close()
		}
		answered <- err
	}()
	p, err := caller.Negotiate(ctx, Offerer, nowhere(theirs))
	if err != nil {
		cancel()
		<-answered
		return err
	}
	defer p.Close()
	return <-answered
}

// dialsEnded reports whether the attempt dialled, and does no more.
func dialsEnded(a *Attempt) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	tried := false
	for _, l := range a.legs {
		tried = tried || l.tries > 0
	}
	return tried && a.loops == 0
}

// gatherTwo begins an attempt at each of two endpoints.
func gatherTwo(t *testing.T, cfg Config) (caller, called *Attempt) {
	t.Helper()
	var both [2]*Attempt
	for i := range both {
		a, err := listenTest(t, cfg).Gather(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		both[i] = a
	}
	return both[0], both[1]
}
