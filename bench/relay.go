package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
)

// Credentials of the relays that are measured; they live as long as the run.
const (
	relayUser     = "bench"
	relayPassword = "bench-password"
	relayRealm    = "bench.local"
)

// A relay is a TURN server on loopback, UDP and TCP on one port.
type relay struct {
	*process
	name string
	addr netip.AddrPort
}

// relays starts ours and the opponents. Ours must be there; an opponent that is not
// is listed as missing.
func relays(ctx context.Context, set settings) ([]relay, []string, func(), error) {
	dir, err := os.MkdirTemp("", "traverse-bench-")
	if err != nil {
		return nil, nil, nil, err
	}
	var list []relay
	stop := func() {
		for _, r := range list {
			r.stop()
		}
		os.RemoveAll(dir)
	}
	ours, err := startTurnd(ctx, set, dir)
	if err != nil {
		stop()
		return nil, nil, nil, err
	}
	list = append(list, ours)
	path, err := exec.LookPath("turnserver")
	if err != nil {
		return list, []string{"coturn is not installed (apt-get install coturn)"}, stop, nil
	}
	coturn, err := startCoturn(ctx, path)
	if err != nil {
		stop()
		return nil, nil, nil, err
	}
	list = append(list, coturn)
	return list, nil, stop, nil
}

func startTurnd(ctx context.Context, set settings, dir string) (relay, error) {
	path := set.turnd
	if path == "" {
		path = filepath.Join(dir, "turnd")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "traverse.internal/cmd/turnd").CombinedOutput(); err != nil {
			return relay{}, fmt.Errorf("%w: building turnd: %v\n%s", errMissing, err, out)
		}
	}
	users := filepath.Join(dir, "users.txt")
	if err := os.WriteFile(users, []byte(relayUser+":"+relayPassword+"\n"), 0o600); err != nil {
		return relay{}, err
	}
	return startRelay(ctx, "turnd", func(addr string) (*process, error) {
		return startProcess(path, "run", "--listen-udp", addr, "--listen-tcp", addr, "--realm", relayRealm, "--users-file", users,
			"--relay-ip4", "127.0.0.1", "--port-range", "40000-49000", "--allow-peer", "127.0.0.0/8",
			"--max-allocations-per-user", "4096", "--max-allocations-per-ip", "4096", "--max-new-peers-per-user", "100000", "--max-new-peers-per-ip", "100000")
	})
}

func startCoturn(ctx context.Context, path string) (relay, error) {
	return startRelay(ctx, "coturn", func(addr string) (*process, error) {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		return startProcess(path, "-n", "--lt-cred-mech", "-u", relayUser+":"+relayPassword, "-r", relayRealm,
			"-L", "127.0.0.1", "-E", "127.0.0.1", "-p", port, "--allow-loopback-peers", "--no-tls", "--no-dtls", "--no-cli",
			"--no-stdout-log", "-l", "/dev/null", "--pidfile", "", "--min-port", "49001", "--max-port", "58000")
	})
}

// startRelay finds a port, starts the server there, and waits for its TCP listener.
func startRelay(ctx context.Context, name string, start func(addr string) (*process, error)) (relay, error) {
	addr, err := freePort()
	if err != nil {
		return relay{}, err
	}
	p, err := start(addr.String())
	if err != nil {
		return relay{}, err
	}
	err = p.await(ctx, func() error {
		c, err := net.Dial("tcp", addr.String())
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil {
		p.stop()
		return relay{}, err
	}
	return relay{p, name, addr}, nil
}

// freePort returns a loopback port that was free a moment ago.
func freePort() (netip.AddrPort, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer l.Close()
	return netip.ParseAddrPort(l.Addr().String())
}

// cost measures what the relay spends on one unit of work while load runs. Load
// returns how many units arrived.
func (r relay) cost(load func() (float64, error)) (float64, error) {
	before, err := r.cpu()
	if err != nil {
		return 0, err
	}
	units, err := load()
	if err != nil {
		return 0, err
	}
	after, err := r.cpu()
	if err != nil {
		return 0, err
	}
	if units == 0 {
		return 0, fmt.Errorf("nothing arrived through %s", r.name)
	}
	return (after - before) / units, nil
}
