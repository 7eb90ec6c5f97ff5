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

// A relay is a TURN server, UDP and TCP on one port.
type relay struct {
	*process
	name  string
	host  *host
	addr  netip.AddrPort // over IPv4
	addr6 netip.AddrPort
}

func (r relay) at(family int) netip.AddrPort {
	if family == v6 {
		return r.addr6
	}
	return r.addr
}

// The relays there are.
const (
	ours     = "turnd"
	oursTC   = "turnd tc" // with turnd.offload = tc
	coturn   = "coturn"
	anyOther = "other coturn" // of -coturn
	pion     = "pion/turn"
)

// A pool has the relays of a run, which are started when they are first needed, and the flows through them.
type pool struct {
	turnd, other string // paths
	lab          bool   // namespaces are there
	dir          string
	hosts        map[string]*host
	running      map[string]relay
	flows        map[flowKey]*flows
}

func newPool(turnd, other string, lab bool) (*pool, error) {
	dir, err := os.MkdirTemp("", "traverse-bench-")
	if err != nil {
		return nil, err
	}
	p := &pool{turnd: turnd, other: other, lab: lab, dir: dir, hosts: map[string]*host{}, running: map[string]relay{}, flows: map[flowKey]*flows{}}
	return p, os.WriteFile(filepath.Join(dir, "users.txt"), []byte(relayUser+":"+relayPassword+"\n"), 0o600)
}

func (p *pool) close() {
	for name := range p.running {
		p.end(name)
	}
	os.RemoveAll(p.dir)
}

// end stops a relay, if it runs.
func (p *pool) end(name string) {
	r, ok := p.running[name]
	if !ok {
		return
	}
	for key, f := range p.flows {
		if key.relay == name {
			f.drop()
			delete(p.flows, key)
		}
	}
	r.stop()
	delete(p.running, name)
}

// get returns a relay that runs.
func (p *pool) get(ctx context.Context, name string) (relay, error) {
	if r, ok := p.running[name]; ok {
		select {
		case <-r.ended:
			delete(p.running, name)
		default:
			return r, nil
		}
	}
	return p.start(ctx, name)
}

// start starts a relay anew.
func (p *pool) start(ctx context.Context, name string) (relay, error) {
	p.end(name)
	h, err := p.host(name)
	if err != nil {
		return relay{}, err
	}
	start, err := p.starter(name)
	if err != nil {
		return relay{}, err
	}
	r, err := startRelay(ctx, h, name, start)
	if err == nil {
		p.running[name] = r
	}
	return r, err
}

// host is the machine of a relay.
func (p *pool) host(name string) (*host, error) {
	if !p.lab {
		return loopback, nil
	}
	if h := p.hosts[name]; h != nil {
		return h, nil
	}
	h, err := newHost(len(p.hosts) + 1)
	if err == nil {
		p.hosts[name] = h
	}
	return h, err
}

// relays starts ours and those opponents that are here; the others are listed as missing. Without ours there is an error.
func (p *pool) relays(ctx context.Context, names ...string) (list []relay, missing []string, err error) {
	for i, name := range names {
		if name == anyOther && p.other == "" {
			continue
		}
		r, err := p.get(ctx, name)
		switch {
		case err == nil:
			list = append(list, r)
		case i == 0:
			return nil, nil, err
		default:
			missing = append(missing, err.Error())
		}
	}
	return list, missing, nil
}

// rig measures the relays side by side.
func (p *pool) rig(ctx context.Context, names []string, run func(ctx context.Context, r relay) (sample, error)) (*rig, error) {
	list, missing, err := p.relays(ctx, names...)
	if err != nil {
		return nil, err
	}
	g := &rig{missing: missing, close: func() {}}
	for _, r := range list {
		g.variants = append(g.variants, variant{r.name, false, func(ctx context.Context) (sample, error) { return run(ctx, r) }})
	}
	return g, nil
}

// A starter starts a relay on a machine, at a port.
type starter func(h *host, port string) (*process, error)

func (p *pool) starter(name string) (starter, error) {
	switch name {
	case ours:
		return func(h *host, port string) (*process, error) { return p.startTurnd(h, port) }, nil
	case oursTC:
		return func(h *host, port string) (*process, error) { return p.startTurnd(h, port, "--offload", "tc") }, nil
	case coturn:
		path, err := exec.LookPath("turnserver")
		if err != nil {
			return nil, fmt.Errorf("%w: coturn is not installed (apt-get install coturn)", errMissing)
		}
		return coturnAt(path), nil
	case anyOther:
		return coturnAt(p.other), nil
	case pion:
		self, err := os.Executable()
		return func(h *host, port string) (*process, error) {
			return startProcessIn(h.ns, self, roleArg, pionRole, net.JoinHostPort(h.relay[v4].String(), port))
		}, err
	}
	return nil, fmt.Errorf("no relay is called %q", name)
}

func (p *pool) startTurnd(h *host, port string, more ...string) (*process, error) {
	listen := net.JoinHostPort(h.relay[v4].String(), port) + "," + net.JoinHostPort(h.relay[v6].String(), port)
	args := []string{
		"run", "--listen-udp", listen, "--listen-tcp", listen, "--realm", relayRealm, "--users-file", filepath.Join(p.dir, "users.txt"),
		"--relay-ip4", h.relay[v4].String(), "--relay-ip6", h.relay[v6].String(), "--port-range", "20000-49000",
		"--allow-peer", "127.0.0.0/8,::1/128,10.77.0.0/16,fd77::/16", "--log-level", "warn",
		"--max-allocations", "100000", "--max-allocations-per-user", "100000", "--max-allocations-per-ip", "100000",
		"--max-channels-per-user", "100000", "--max-channels-per-ip", "100000",
		"--max-permissions-per-user", "100000", "--max-permissions-per-ip", "100000",
		"--max-new-peers-per-user", "1000000", "--max-new-peers-per-ip", "1000000", "--max-strangers-per-second", "100000",
		"--drain-grace", "0s", "--admin-socket", filepath.Join(p.dir, fmt.Sprintf("admin%d.sock", h.n)),
	}
	return startProcessIn(h.ns, p.turnd, append(args, more...)...)
}

// coturnAt is coturn as fast as it gets: no logs, one address of each family.
func coturnAt(path string) starter {
	return func(h *host, port string) (*process, error) {
		r4, r6 := h.relay[v4].String(), h.relay[v6].String()
		return startProcessIn(h.ns, path, "-n", "--lt-cred-mech", "-u", relayUser+":"+relayPassword, "-r", relayRealm,
			"-L", r4, "-L", r6, "-E", r4, "-E", r6, "-p", port, "--allow-loopback-peers", "--no-tls", "--no-dtls", "--no-cli",
			"--no-stdout-log", "-l", "/dev/null", "--pidfile", "", "--userdb", "", "--min-port", "20000", "--max-port", "65000")
	}
}

// startRelay finds a port, starts the server there, and waits for its answer.
func startRelay(ctx context.Context, h *host, name string, start starter) (relay, error) {
	port, err := h.freePort()
	if err != nil {
		return relay{}, err
	}
	r := relay{
		name: name, host: h,
		addr: netip.AddrPortFrom(h.relay[v4], port), addr6: netip.AddrPortFrom(h.relay[v6], port),
	}
	if r.process, err = start(h, fmt.Sprint(port)); err != nil {
		return relay{}, err
	}
	if err = r.await(ctx, func() error { return answersBinding(r.addr) }); err != nil {
		r.stop()
		return relay{}, fmt.Errorf("%w: %s: %w", errMissing, name, err)
	}
	return r, nil
}

// freePort returns a port that was free a moment ago.
func (h *host) freePort() (port uint16, err error) {
	err = inside(h.ns, func() error {
		l, err := net.Listen("tcp4", net.JoinHostPort(h.relay[v4].String(), "0"))
		if err == nil {
			port = uint16(l.Addr().(*net.TCPAddr).Port)
			err = l.Close()
		}
		return err
	})
	return port, err
}

// freePort returns a loopback port that was free a moment ago.
func freePort() (netip.AddrPort, error) {
	port, err := loopback.freePort()
	return netip.AddrPortFrom(loopback.relay[v4], port), err
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

// memory is what the relay's process has of its own, in bytes: not what the kernel keeps for its sockets.
func (r relay) memory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	return rssAnon(text)
}

// needLab refuses what loopback cannot show.
func (p *pool) needLab() error {
	if p.lab {
		return nil
	}
	return fmt.Errorf("%w: it takes root, ip and nft, for a network of its own", errMissing)
}
