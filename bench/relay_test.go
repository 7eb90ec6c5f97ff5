package main

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"traverse.internal/turn"
)

// ourRelay is package turn in this process, measured as if it were a child.
func ourRelay(t *testing.T) relay {
	t.Helper()
	addr, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	server, err := turn.New(turn.Config{
		ListenUDP:  []netip.AddrPort{addr},
		ListenTCP:  []netip.AddrPort{addr},
		Realm:      relayRealm,
		Users:      map[string]string{relayUser: relayPassword},
		RelayIP4:   addr.Addr(),
		AllowPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("turn: %v", err)
		}
	})
	return relay{&process{cmd: &exec.Cmd{Process: self}}, "turn", addr}
}

// TestRelayLoads: packets and streams go through a relay and are counted, both
// ways. What it costs is not looked at.
func TestRelayLoads(t *testing.T) {
	r := ourRelay(t)
	for name, run := range map[string]func() (sample, error){
		"up":   func() (sample, error) { return runChannelData(t.Context(), r, quick().load, flowShape{1, 1, true}) },
		"down": func() (sample, error) { return runChannelData(t.Context(), r, quick().load, flowShape{1, 1, false}) },
		"tcp":  func() (sample, error) { return runTCPRelay(t.Context(), r, quick().load) },
	} {
		s, err := run()
		if err != nil || len(s.cost) != 1 || s.cost[0] <= 0 {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

// TestRefusals: a relay that refuses is an error that says so, not a cost of
// nothing.
func TestRefusals(t *testing.T) {
	r := ourRelay(t)
	_, err := bindChannel(r.addr, netip.MustParseAddrPort("10.0.0.1:1")) // a peer it denies
	if err == nil {
		t.Error("a denied peer was bound")
	}
	if _, err := r.cost(func() (float64, error) { return 0, nil }); err == nil {
		t.Error("nothing arrived, and there is a cost")
	}
	if _, err := startTurnd(t.Context(), settings{turnd: "/nonexistent"}, t.TempDir()); err == nil {
		t.Error("a turnd that does not exist was started")
	}
	_, err = startTurnd(t.Context(), settings{turnd: "/bin/false"}, t.TempDir())
	if err == nil {
		t.Error("a turnd that ends at once was started")
	}
}
