package daemon

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"
)

// labNode is a whole node on loopback, in a private DHT with the others of a test.
type labNode struct {
	*Daemon
	client *Client
	down   func()
	ended  func(*testing.T, error) // waits for the end that comes by itself
}

const labPatience = 30 * time.Second // for what should happen; only a failing test waits so long

// startNode starts a node that finds the others by the first one.
func startNode(t *testing.T, name string, first *labNode, change func(*Config)) *labNode {
	t.Helper()
	return startHome(t, newHome(t, name), name, first, change)
}

// newHome makes a device in a folder of its own.
func newHome(t *testing.T, name string) Home {
	t.Helper()
	dir, err := os.MkdirTemp("", "node") // t.TempDir can be longer than a socket's name may be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := HomeAt(dir)
	if _, err := Init(h, name); err != nil {
		t.Fatal(err)
	}
	return h
}

// serve runs a daemon until it is told to go down, or the test has ended.
func serve(t *testing.T, cfg Config) *labNode {
	t.Helper()
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Serve(ctx) }()
	n := &labNode{Daemon: d, client: NewClient(cfg.Home.Socket)}
	done := false
	n.down = func() {
		if cancel(); !done {
			done = true
			if err := <-ended; err != nil {
				t.Errorf("%s: %v", cfg.Name, err)
			}
		}
	}
	n.ended = func(t *testing.T, want error) {
		t.Helper()
		if err := <-ended; !errors.Is(err, want) {
			t.Errorf("%s ended with %v, want %v", cfg.Name, err, want)
		}
		done = true
	}
	t.Cleanup(n.down)
	return n
}

func startHome(t *testing.T, h Home, name string, first *labNode, change func(*Config)) *labNode {
	t.Helper()
	cfg := Config{Home: h, Name: name, NoSync: true, Accept: AcceptAuto}
	cfg.DHT = DHTConfig{Private: true, Listen: netip.MustParseAddrPort("127.0.0.1:0")}
	if first != nil {
		cfg.DHT.Bootstrap = []string{first.dht.Addr().String()}
	}
	if change != nil {
		change(&cfg)
	}
	return serve(t, cfg)
}

// join makes a contact of the two, or with device an account of them.
func join(t *testing.T, inviter, joiner *labNode, device bool) {
	t.Helper()
	ticket, err := inviter.Invite(InviteRequest{Device: device})
	if err == nil {
		_, err = joiner.Join(t.Context(), JoinRequest{Ticket: ticket.Ticket})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	over := time.After(labPatience)
	for !holds() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
