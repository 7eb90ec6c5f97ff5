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
	return relay{process: &process{cmd: &exec.Cmd{Process: self}}, name: "turn", host: loopback, addr: addr}
}

// TestRelayLoads: packets and streams go through a relay and are counted, both
// ways. What it costs is not looked at.
func TestRelayLoads(t *testing.T) {
	r := ourRelay(t)
	for name, run := range map[string]func() (sample, error){
		"up": func() (sample, error) {
			return runClosed(t.Context(), r, quick().load, flowShape{flows: 1, burst: 1, up: true, size: 100})
		},
		"down": func() (sample, error) {
			return runClosed(t.Context(), r, quick().load, flowShape{flows: 1, burst: 1, size: 100})
		},
		"tcp": func() (sample, error) { return runTCPRelay(t.Context(), r, quick().load, tcpShape{2, 16 << 10, 0}) },
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
	_, err := bindChannel(netip.Addr{}, r.addr, netip.MustParseAddrPort("10.0.0.1:1")) // a peer it denies
	if err == nil {
		t.Error("a denied peer was bound")
	}
	if _, err := r.cost(func() (float64, error) { return 0, nil }); err == nil {
		t.Error("nothing arrived, and there is a cost")
	}
	for _, path := range []string{"/nonexistent", "/bin/false"} {
		p, err := newPool(path, "", false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.get(t.Context(), ours); err == nil {
			t.Errorf("turnd at %s was started", path)
		}
		p.close()
	}
}
