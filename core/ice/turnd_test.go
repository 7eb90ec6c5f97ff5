package ice

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"traverse.internal/core/reason"
	"traverse.internal/turn"
)

// startTurnd runs our own TURN server on loopback, which knows the user u with password p.
func startTurnd(t *testing.T, change func(*turn.Config)) *turn.Server {
	t.Helper()
	cfg := turn.Config{
		ListenTCP: []netip.AddrPort{netip.AddrPortFrom(lo4, 0)},
		Users:     map[string]string{"u": "p"}, Realm: "r", RelayIP4: lo4, RelayIP6: lo6,
		AllowPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	}
	change(&cfg)
	server, err := turn.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return server
}

// TestTurnd runs the relayed paths through our own TURN server.
func TestTurnd(t *testing.T) {
	needIPv6(t)
	server := startTurnd(t, func(*turn.Config) {})
	relayedPaths(t, server.TCPAddrs()[0].String())
	eventually(t, "allocations to be given back", func() bool {
		n := 0
		for _, c := range server.Stats().Allocations {
			n += c.Count
		}
		return n == 0
	}, func() string { return "" })
}

// relayedPaths runs every relayed path through a TURN server on loopback that knows the user u with password p.
func relayedPaths(t *testing.T, server string) {
	good := []Relay{{Server: server, Username: "u", Password: "p"}}
	for _, c := range []struct {
		name           string
		addr           netip.Addr
		caller, callee Config
		kind           string
	}{
		{"relay of the caller", lo4, Config{Policy: RelayOnly, Relays: good}, Config{}, Relayed},
		{"relay of the callee", lo4, Config{}, Config{Policy: RelayOnly, Relays: good}, Relayed},
		{"both relay-only", lo4, Config{Policy: RelayOnly, Relays: good}, Config{Policy: RelayOnly, Relays: good}, Relayed},
		{"relay of the caller, IPv6", lo6, Config{Policy: RelayOnly, Relays: good}, Config{}, Relayed},
		{"relay of the callee, IPv6", lo6, Config{}, Config{Policy: RelayOnly, Relays: good}, Relayed},
		{"auto stays direct", lo4, Config{Relays: good}, Config{Relays: good}, Direct},
	} {
		t.Run(c.name, func(t *testing.T) {
			noGoroutines(t)
			c.caller.Addrs = []netip.Addr{c.addr}
			c.callee.Addrs = []netip.Addr{c.addr}
			caller, callee := listenTest(t, c.caller), listenTest(t, c.callee)
			began := time.Now()
			b := mustConnect(t, caller, callee)
			t.Logf("%v, %+v", time.Since(began), b.offerer.Route)
			if b.offerer.Route.Kind != c.kind {
				t.Errorf("route %+v, want %s", b.offerer.Route, c.kind)
			}
			talk(t, b, 16<<10) // more than its buffers, and coturn now and then stops relaying an echo
			b.close()
		})
	}

	t.Run("wrong password", func(t *testing.T) {
		noGoroutines(t)
		bad := []Relay{{Server: server, Username: "u", Password: "wrong"}}
		_, err := listenTest(t, Config{Policy: RelayOnly, Relays: bad}).Gather(t.Context())
		if reason.Of(err) != reason.RelayAuth {
			t.Errorf("got %v, want %v", err, reason.RelayAuth)
		}
	})
	t.Run("relay down", func(t *testing.T) {
		noGoroutines(t)
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		down := []Relay{{Server: ln.Addr().String(), Username: "u", Password: "p"}}
		ln.Close()
		_, err = listenTest(t, Config{Policy: RelayOnly, Relays: down}).Gather(t.Context())
		if reason.Of(err) != reason.RelayUnreachable {
			t.Errorf("got %v, want %v", err, reason.RelayUnreachable)
		}
		b := mustConnect(t, listenTest(t, Config{Relays: down}), listenTest(t, Config{}))
		if b.offerer.Route.Kind != Direct {
			t.Errorf("route %+v, want a direct one: the relay is no matter", b.offerer.Route)
		}
	})
}
