package demo

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"traverse.internal/core/ice"
	"traverse.internal/daemon"
	"traverse.internal/dht"
	"traverse.internal/turn"
)

// lab is everything the demo runs: what a household would have, on one machine.
type lab struct {
	dir string
	opt Options
	log *slog.Logger

	seed    *dht.Node // the DHT node all devices start from
	turnd   *running[*turn.Server]
	turnCfg turn.Config
	devices map[string]*device
	tasks   sync.WaitGroup
}

// device is one node and how to stop it.
type device struct {
	*daemon.Daemon
	cfg    daemon.Config
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // set before ended closes
}

// running is a worker that Serve runs.
type running[T any] struct {
	it     T
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
}

func newLab(dir string, opt Options) *lab {
	return &lab{dir: dir, opt: opt, log: slog.New(slog.DiscardHandler), devices: map[string]*device{}}
}

var (
	loopback4 = netip.MustParseAddr("127.0.0.1")
	loopback6 = netip.MustParseAddr("::1")
)

// relayUser is the one user of the demo's relay; the secret is made anew each time.
const relayUser = "demo"

// families says which addresses each device has: the pair of devices decides which family a stage runs over.
var families = map[string][]netip.Addr{
	"laptop":  {loopback4, loopback6},
	"phone":   {loopback4},
	"desktop": {loopback6},
}

// deviceConfig is a device's configuration: as `node up` would have it.
func (l *lab) deviceConfig(name string) daemon.Config {
	cfg := daemon.Config{
		Home:   daemon.HomeAt(filepath.Join(l.dir, name)),
		Name:   name,
		DHT:    daemon.DHTConfig{Private: true, Listen: netip.AddrPortFrom(loopback4, 0), Bootstrap: []string{l.seed.Addr().String()}},
		Addrs:  families[name],
		Accept: daemon.AcceptAuto,
		NoSync: true, // the demo measures the line, not the disk
		Log:    l.log,
	}
	return cfg
}

// up starts a device.
func (l *lab) up(cfg daemon.Config) (*device, error) {
	d, err := daemon.New(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	dev := &device{Daemon: d, cfg: cfg, cancel: cancel, ended: make(chan struct{})}
	l.devices[cfg.Name] = dev
	l.tasks.Go(func() {
		defer close(dev.ended)
		dev.err = d.Serve(ctx)
	})
	return dev, nil
}

// down ends a device and waits for it.
func (d *device) down() error {
	d.cancel()
	<-d.ended
	return d.err
}

// again restarts a device under another configuration.
func (l *lab) again(name string, change func(*daemon.Config)) error {
	d := l.devices[name]
	if err := d.down(); err != nil {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	cfg := d.cfg
	change(&cfg)
	_, err := l.up(cfg)
	return err
}

// upTurnd starts the relay; the second time on the addresses of the first.
func (l *lab) upTurnd() error {
	srv, err := turn.New(l.turnCfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running[*turn.Server]{it: srv, cancel: cancel, ended: make(chan struct{})}
	l.turnd = r
	l.tasks.Go(func() {
		defer close(r.ended)
		r.err = srv.Serve(ctx)
	})
	return nil
}

func (l *lab) downTurnd() error {
	l.turnd.cancel()
	<-l.turnd.ended
	return l.turnd.err
}

// stop ends whatever still runs.
func (l *lab) stop() {
	for _, d := range l.devices {
		d.cancel()
	}
	if l.turnd != nil {
		l.turnd.cancel()
	}
	l.tasks.Wait()
	if l.seed != nil {
		_ = l.seed.Close()
	}
}

// makeFile writes a file of the given size whose bytes do not compress and differ from file to file.
func (l *lab) makeFile(name string, size int64) (string, error) {
	path := filepath.Join(l.dir, name)
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := fill(f, name, size); err != nil {
		return "", err
	}
	return path, f.Close()
}

// received finds where the transfer went at its receiver, waiting for that side to notice the end too.
func received(ctx context.Context, d *device, id string) (daemon.Transfer, error) {
	return d.Await(ctx, id, func(t daemon.Transfer) bool { return t.State.Ended() })
}

// allDevices lists the devices in a fixed order.
func (l *lab) allDevices() []*device {
	var all []*device
	for _, name := range []string{"laptop", "phone", "desktop"} {
		if d := l.devices[name]; d != nil {
			all = append(all, d)
		}
	}
	return all
}

// relayOnlyConfig makes a device use nothing but the relay, in the families of its addresses.
func (l *lab) relayOnlyConfig(cfg *daemon.Config) {
	cfg.Policy, cfg.Without, cfg.UDPFirst = ice.RelayOnly, 0, false
	i := slices.IndexFunc(l.turnd.it.TCPAddrs(), func(a netip.AddrPort) bool { return a.Addr().Is4() })
	at := l.turnd.it.TCPAddrs()[i]
	cfg.Relays = []daemon.RelayConfig{{
		URL:      daemon.RelayURL{Host: at.Addr().String(), Port: at.Port(), User: relayUser},
		Password: l.turnCfg.Users[relayUser],
	}}
}

// stageTimeout bounds each stage of a demo that hangs.
const stageTimeout = 60 * time.Second
