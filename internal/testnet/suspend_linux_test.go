package testnet

import (
	"syscall"
	"testing"
	"time"

	"traverse.internal/internal/netlab"
)

// TestSuspend: a device sleeps for 30 s in the middle of a flow, over a direct path and over the relay alone; the flow goes on where it was.
func TestSuspend(t *testing.T) {
	t.Parallel()
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	type pair struct {
		name, kind string
		a, b       *station
	}
	direct := []*Site{w.Site(t, Public, 1), w.Site(t, Public, 1)}
	relayed := []*Site{w.Site(t, Symmetric, 1), w.Site(t, Symmetric, 1)}
	pairs := []pair{
		{"direct", "direct", w.device(t, "a", direct[0], 0), w.device(t, "b", direct[1], 0)},
		{"relayed", "relayed", w.device(t, "c", relayed[0], 0), w.device(t, "d", relayed[1], 0)},
	}
	for _, p := range pairs {
		p.a.write(message{Kind: "flow", Device: p.b.id})
		if m := p.a.await(p.a.channel(p.a.results, p.b.id)); m.Kind != "connected" || m.Route.Kind != p.kind {
			t.Fatalf("%s began %+v", p.name, m)
		}
	}
	for _, p := range pairs {
		if err := p.b.proc.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	<-time.After(30 * time.Second) // what is tested is the time
	woke := time.Now()
	for _, p := range pairs {
		if err := p.b.proc.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		p.a.write(message{Kind: "stop"})
	}
	for _, p := range pairs {
		said := p.a.channel(p.a.results, p.b.id)
		m := p.a.await(said)
		for m.Kind == "path" {
			m = p.a.await(said)
		}
		if m.Kind != "flowed" || m.Error != "" {
			t.Errorf("%s: %+v", p.name, m)
		}
		t.Logf("%s: %d bytes there and back, the last %v after it woke", p.name, m.Bytes, time.Since(woke).Round(time.Millisecond))
	}
}
