package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"traverse.internal/daemon"
	"traverse.internal/dht"
)

// How a connection by slots alone is measured.
const (
	slotPoll  = 2 * time.Second // what a private DHT's default is: dht.CourierConfig.Poll
	slotCalls = 5
	slotIdle  = 5 * slotPoll // long enough to count what looking costs
)

// slotBench connects by what lies in the pair's slots: the caller knows no address to ask at, as where the called device's NAT lets nothing in. How long that
// takes is a matter of how often slots are looked into, and that has its price: the gets of an hour in which nobody calls.
var slotBench = bench{
	group: "connect", name: "cold connect by slots alone",
	units: []unit{
		{"direct, median, in poll intervals of 2 s", atMost(2, 1)},
		{"direct, slowest, in poll intervals of 2 s", atMost(2, 1)},
		{"gets in an idle hour, a contact", goal{}},
	},
	open: func(context.Context, settings) (*rig, error) {
		return &rig{close: func() {}, variants: []variant{{"two daemons", false, bySlots}}}, nil
	},
}

// slotPair is two daemons that know each other, and the node of the DHT that both begin from.
type slotPair struct {
	dir    string
	seed   *dht.Node
	nodes  []*daemon.Daemon
	ended  chan error
	cancel context.CancelFunc
}

func bySlots(ctx context.Context) (s sample, err error) {
	p, err := newSlotPair()
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	caller := p.nodes[0]
	took := make([]float64, slotCalls)
	for i := range took {
		// A call comes when it comes, not in step with the one who looks.
		if err := pause(ctx, slotPoll+rand.N(slotPoll)); err != nil {
			return s, err
		}
		open, _, _, err := caller.Ping(ctx, "callee")
		if err != nil {
			return s, fmt.Errorf("call %d of %d: %w", i+1, slotCalls, err)
		}
		took[i] = open.Seconds() / slotPoll.Seconds()
		if _, err := caller.Kick("callee"); err != nil {
			return s, err
		}
	}
	if n := caller.DHTStats().DirectSent; n != 0 {
		return s, fmt.Errorf("%d requests went straight to the called device", n)
	}
	before := p.nodes[1].DHTStats().Gets
	if err := pause(ctx, slotIdle); err != nil {
		return s, err
	}
	gets := float64(p.nodes[1].DHTStats().Gets-before) * float64(time.Hour/slotIdle)
	slices.Sort(took)
	return sample{[]float64{took[slotCalls/2], took[slotCalls-1], gets}, fmt.Sprintf("%.2f s the median of %d calls", took[slotCalls/2]*slotPoll.Seconds(), slotCalls)}, nil
}

func newSlotPair() (p *slotPair, err error) {
	p = &slotPair{ended: make(chan error, 2), cancel: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.dir, err = os.MkdirTemp("", "bench-slots-"); err != nil {
		return p, err
	}
	loopback := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	if p.seed, err = dht.Listen(dht.Config{Mode: dht.Private, Listen: loopback}); err != nil {
		return p, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	names, ids := []string{"caller", "callee"}, []string{}
	for _, name := range names {
		home := daemon.HomeAt(filepath.Join(p.dir, name))
		made, err := daemon.Init(home, name)
		if err != nil {
			return p, err
		}
		d, err := daemon.New(daemon.Config{
			Home: home, Name: name, Addrs: []netip.Addr{loopback.Addr()}, NoSync: true,
			DHT: daemon.DHTConfig{Private: true, Listen: loopback, Bootstrap: []string{p.seed.Addr().String()}, SlotsOnly: true},
		})
		if err != nil {
			return p, err
		}
		p.nodes, ids = append(p.nodes, d), append(ids, made.DeviceID)
		go p.serve(ctx, d)
	}
	for i, d := range p.nodes {
		if _, err := d.AddContact(names[1-i], ids[1-i]); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (p *slotPair) serve(ctx context.Context, d *daemon.Daemon) { p.ended <- d.Serve(ctx) }

// close ends both daemons and waits for them.
func (p *slotPair) close() error {
	p.cancel()
	var errs []error
	for range p.nodes {
		errs = append(errs, <-p.ended)
	}
	if p.seed != nil {
		errs = append(errs, p.seed.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
