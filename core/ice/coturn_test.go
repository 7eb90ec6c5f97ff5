package ice

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"traverse.internal/core/reason"
)

// startCoturn runs Debian's coturn on loopback for the test and returns its address. It skips if there is none that works.
func startCoturn(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("turnserver")
	if err != nil {
		t.Skip("needs turnserver (Debian package coturn)")
	}
	needIPv6(t)
	for range 3 {
		// Below the ports that the kernel gives out; another program may have it all the same.
		port := strconv.Itoa(20000 + rand.IntN(10000))
		cmd := exec.Command(program, "-n", "--no-cli", "--no-tls", "--no-dtls", "--lt-cred-mech", "--user", "u:p", "--realm", "r",
			"--listening-ip", "127.0.0.1", "--listening-ip", "::1", "--relay-ip", "127.0.0.1", "--relay-ip", "::1",
			"--listening-port", port, "--allow-loopback-peers", "--pidfile", t.TempDir()+"/pid", "--userdb", t.TempDir()+"/db",
			"--log-file", "stdout", "--no-stdout-log", "--simple-log")
		if err := cmd.Start(); err != nil {
			t.Skipf("coturn does not start: %v", err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		if server := "127.0.0.1:" + port; lends(t, server) {
			return server
		}
	}
	t.Skip("coturn runs and does not answer")
	return ""
}

// lends waits until a relay has made an allocation: coturn listens before it answers, seconds before on a loaded machine.
func lends(t *testing.T, server string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		try, cancel := context.WithTimeout(ctx, time.Second)
		l, err := allocateTURN(try, Relay{Server: server, Username: "u", Password: "p"}, false)
		cancel()
		if err == nil {
			l.Close()
			return true
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return false
		}
	}
}

// TestCoturn runs the relayed paths through a TURN server that is not ours.
func TestCoturn(t *testing.T) {
	server := startCoturn(t)
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
			if r := b.offerer.Route.Relay; c.kind == Relayed && c.addr.Is6() && !r.Addr().Is6() {
				t.Errorf("relay %v, want an IPv6 one: the peers have no IPv4 address that was permitted", r)
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
