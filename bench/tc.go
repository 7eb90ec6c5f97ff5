package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"time"

	"traverse.internal/internal/relayadmin"
)

// What is relayed in the kernel is no process's time. So here everything counts: the relay's process, the load's thread, in
// which the kernel receives at the relay's machine and at tc goes on to send, and ksoftirqd; less what the same load costs
// when the relay's machine drops all of it as it enters. The same for everybody. At a fixed rate the load waits busily, which
// would hide it: so only saturated.
func tcBenches() []bench {
	var list []bench
	for _, s := range []flowShape{
		{flows: 1, up: true},
		{flows: 1},
		{flows: 1000, up: true},
		{flows: 1000},

		{flows: 1, up: true, family: v6},
		{flows: 1, family: v6},
		{flows: 1, up: true, size: 1200},
		{flows: 1, size: 1200},
	} {
		s.burst, s.whole, s.card, s.size = 1, true, true, max(s.size, 100)
		list = append(list, bench{
			group: "tc", name: "kernel relay, " + s.name(), units: []unit{{"system ns/packet", ratio(6, 9)}},
			quick: s.flows == 1000 && s.up,
			open:  func(ctx context.Context, set settings) (*rig, error) { return openTC(ctx, set, s) },
		})
	}
	return list
}

func openTC(ctx context.Context, set settings, shape flowShape) (*rig, error) {
	p := set.pool
	if err := p.needLab(); err != nil {
		return nil, err
	}
	g, err := p.rig(ctx, []string{oursTC, coturn, anyOther, ours}, func(ctx context.Context, r relay) (sample, error) {
		m, err := p.measure(ctx, r, shape, set.load)
		if err != nil {
			return sample{}, err
		}
		// What was sent and lost cost the load something, and nobody else.
		system := m.relay/float64(m.arrived) + m.open - m.door
		return sample{[]float64{system * 1e9}, fmt.Sprintf("%s; relay's process %.0f ns, load with the door shut %.0f, open %.0f",
			m.note(), m.relay*1e9/float64(m.arrived), m.door*1e9, m.open*1e9)}, nil
	})
	if err != nil {
		return nil, err
	}
	for i := range g.variants {
		g.variants[i].aside = g.variants[i].name == ours // tc off
	}
	return g, nil
}

// slices compares what the load costs with the relay's door open and shut, in short turns, and takes the least of each: their
// difference is small, and a neighbour's turn on the core is not.
func (m *measured) slices(ctx context.Context, p *pool, r relay, s flowShape, d *driver, load time.Duration) error {
	h, at := r.host, d
	if r.name == oursTC { // tc comes before the door: the door of a machine without
		other, err := p.get(ctx, ours)
		if err != nil {
			return err
		}
		f, err := p.flowsOf(other, s.family, s.flows)
		if err != nil {
			return err
		}
		h = other.host
		if at, err = f.driver(s); err != nil {
			return err
		}
		defer at.way.close()
	}
	for i := range 5 {
		shut, err := h.atTheDoor(ctx, at, load)
		if err != nil {
			return err
		}
		open, err := d.cost(ctx, load)
		if err != nil {
			return err
		}
		if i == 0 || shut < m.door {
			m.door = shut
		}
		if i == 0 || open < m.open {
			m.open = open
		}
	}
	return nil
}

// cost is what a packet costs the load and the kernel's threads, in seconds.
func (d *driver) cost(ctx context.Context, load time.Duration) (float64, error) {
	softirq := softirqd()
	err := d.run(ctx, load)
	return (d.cpu + softirqd() - softirq) / float64(max(1, d.sent)), err
}

// atTheDoor is what a packet of this load costs when the relay's machine drops it as it enters.
func (h *host) atTheDoor(ctx context.Context, d *driver, load time.Duration) (float64, error) {
	if h.counted != nil {
		return h.atTheTCXDoor(ctx, d, load)
	}
	const closed = "table netdev closed {\n chain door {\n type filter hook ingress device \"" + cardName + "\" priority -300\n meta l4proto udp drop\n }\n}\n"
	if err := inside(h.ns, func() error { return feed(closed, "nft", "-f", "-") }); err != nil {
		return 0, err
	}
	cost, err := d.cost(ctx, load)
	return cost, errors.Join(err, inside(h.ns, func() error { return exec.Command("nft", "delete", "table", "netdev", "closed").Run() }))
}

// atTheTCXDoor is atTheDoor by the same means as the sink.
func (h *host) atTheTCXDoor(ctx context.Context, d *driver, load time.Duration) (cost float64, err error) {
	var open func() error
	if err := inside(h.ns, func() (err error) {
		open, err = shutDoor(h.in.index)
		return err
	}); err != nil {
		return 0, err
	}
	cost, err = d.cost(ctx, load)
	return cost, errors.Join(err, open())
}

// inKernel waits until the relay says that its flows are in the kernel.
func inKernel(ctx context.Context, p *pool, r relay, flows int) error {
	c := http.Client{Timeout: time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(p.dir, fmt.Sprintf("admin%d.sock", r.host.n)))
	}}}
	defer c.CloseIdleConnections()
	var got relayadmin.Offload
	for range 100 {
		resp, err := c.Get("http://turnd/v1/offload")
		if err != nil {
			return err
		}
		err = json.NewDecoder(resp.Body).Decode(&got)
		resp.Body.Close()
		if err != nil {
			return err
		}
		if got.Flows >= flows {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("%d of %d flows in the kernel: %s %v", got.Flows, flows, got.Reason, got.Refused)
}
