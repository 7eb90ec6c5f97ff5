package testnet

import (
	"testing"
	"time"

	"traverse.internal/core/reason"
	"traverse.internal/internal/netlab"
)

// TestMove: a flow of bytes begins over the relay, because the Internet lets nothing through between the two devices; it moves to a direct
// path when that ends, and goes back over the relay when the direct path swallows everything. It is one channel, and every byte arrives.
func TestMove(t *testing.T) {
	t.Parallel()
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	sites := []*Site{w.Site(t, Public, 1), w.Site(t, Public, 1)}
	a, b := w.device(t, "a", sites[0], 0), w.device(t, "b", sites[1], 0)
	block, unblock := w.between(t, sites[0], sites[1])
	said := a.channel(a.results, b.id)
	next := func(kind string) message {
		t.Helper()
		m := a.await(said)
		if m.Kind != kind || m.Error != "" {
			t.Fatalf("a said %+v, want %s", m, kind)
		}
		return m
	}
	block()
	a.write(message{Kind: "flow", Device: b.id})
	if m := next("connected"); m.Route.Kind != "relayed" {
		t.Fatalf("began %+v", m.Route)
	}
	unblock()
	began := time.Now()
	if m := next("path"); m.Route.Kind != "direct" || m.Reason != reason.DirectPublic {
		t.Fatalf("moved to %+v, want a direct path", m.Route)
	}
	up := time.Since(began)
	block()
	began = time.Now()
	if m := next("path"); m.Route.Kind != "relayed" || m.Reason != reason.RelayDirectDegraded {
		t.Fatalf("moved to %+v, want the relay", m.Route)
	}
	down := time.Since(began)
	a.write(message{Kind: "stop"})
	m := next("flowed")
	t.Logf("direct after %v, over the relay again after %v, %d bytes there and back", up.Round(time.Millisecond), down.Round(time.Millisecond), m.Bytes)
}
