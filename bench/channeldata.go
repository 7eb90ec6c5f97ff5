package main

import (
	"context"
	"fmt"
	"time"
)

// flowShape is what a bench loads a relay with.
type flowShape struct {
	flows, burst int // a burst is what a network card that joins them hands over, and what goes out as one
	up           bool
	size         int  // of the payload
	family       int  // of client, relay and peer
	rate         int  // packets a second; 0: as many as it takes
	whole        bool // also what the load spends when the relay's machine drops everything
	cut          bool // bursts are cut by the kernel on the relay's time, not by its card
	card         bool // packets come in as a card's do, not as a veth's
}

func (s flowShape) name() string {
	name := "up"
	if !s.up {
		name = "down"
	}
	name = fmt.Sprintf("channeldata %s, %d B", name, s.size)
	if s.flows > 1 {
		name += fmt.Sprintf(", %d flows", s.flows)
	}
	if s.burst > 1 {
		name += fmt.Sprintf(", bursts of %d", s.burst)
	}
	if s.cut {
		name += ", software GSO"
	}
	if s.rate > 0 {
		name += fmt.Sprintf(", %d kpps", s.rate/1000)
	}
	if s.family == v6 {
		name += ", IPv6"
	}
	return name
}

// channelDataBenches is ChannelData relayed in user space: at saturation, at fixed rates, and in bursts.
func channelDataBenches() []bench {
	var list []bench
	add := func(group string, g goal, quick bool, s flowShape) {
		list = append(list, bench{
			group: group, name: s.name(), quick: quick, units: []unit{{"relay ns/packet", g}},
			open: func(ctx context.Context, set settings) (*rig, error) { return openChannelData(ctx, set, s) },
		})
	}
	single, many := ratio(1.4, 1.8), ratio(1.15, 1.4)
	for _, up := range []bool{true, false} {
		for _, size := range []int{100, 1200} {
			quick := size == 100
			add("saturated", single, quick, flowShape{flows: 1, burst: 1, up: up, size: size})
			add("saturated", many, quick, flowShape{flows: 1000, burst: 1, up: up, size: size})
		}
		add("saturated", single, false, flowShape{flows: 1, burst: 1, up: up, size: 100, family: v6})
	}
	add("saturated", single, false, flowShape{flows: 1, burst: 1, up: true, size: 1200, family: v6})
	for _, up := range []bool{true, false} {
		add("saturated", many, false, flowShape{flows: 1000, burst: 1, up: up, size: 100, family: v6})
	}
	for _, rate := range []int{20_000, 60_000, 120_000} {
		for _, flows := range []int{1, 1000} {
			for _, up := range []bool{true, false} {
				quick := rate == 60_000 && flows == 1000 && up
				add("rates", ratio(1, 1.2), quick, flowShape{flows: flows, burst: 1, up: up, size: 100, rate: rate})
			}
		}
	}
	for _, up := range []bool{true, false} {
		add("rates", ratio(1, 1.2), false, flowShape{flows: 1, burst: 1, up: up, size: 1200, rate: 60_000})
		add("rates", ratio(1, 1.2), false, flowShape{flows: 1000, burst: 1, up: up, size: 100, rate: 60_000, family: v6})
	}
	for _, up := range []bool{true, false} {
		for _, burst := range []int{4, 16, 40} {
			g := goal{} // 4 is between single packets and the table's "16 and more"
			if burst >= 16 {
				g = ratio(8, 15)
			}
			for _, size := range []int{100, 1200} {
				add("bursts", g, burst == 16 && size == 100, flowShape{flows: 1, burst: burst, up: up, size: size})
			}
			if burst >= 16 {
				add("bursts", ratio(4, 6), burst == 16 && up, flowShape{flows: 1, burst: burst, up: up, size: 100, cut: true})
			}
		}
	}
	for _, up := range []bool{true, false} {
		add("bursts", ratio(8, 15), false, flowShape{flows: 1, burst: 16, up: up, size: 100, family: v6})
		add("bursts", ratio(8, 15), false, flowShape{flows: 1000, burst: 16, up: up, size: 100})
	}
	return list
}

func openChannelData(ctx context.Context, set settings, shape flowShape) (*rig, error) {
	p := set.pool
	names := []string{ours, coturn, anyOther}
	if !p.lab {
		if shape.rate > 0 || shape.cut || shape.family == v6 {
			return nil, p.needLab()
		}
		return p.rig(ctx, names, func(ctx context.Context, r relay) (sample, error) { return runClosed(ctx, r, set.load, shape) })
	}
	if shape.family == v4 && shape.burst == 1 && shape.rate == 0 && shape.size == 100 {
		names = append(names, pion)
	}
	g, err := p.rig(ctx, names, func(ctx context.Context, r relay) (sample, error) {
		m, err := p.measure(ctx, r, shape, set.load)
		if err != nil {
			return sample{}, err
		}
		return sample{[]float64{m.relay * 1e9 / float64(m.arrived)}, m.note()}, nil
	})
	if err != nil {
		return nil, err
	}
	return g, nil
}

// measured is what one round found out.
type measured struct {
	sent, arrived int64
	took          time.Duration
	relay         float64 // CPU seconds of the relay's process
	load          float64 // of the load's thread, which has the kernel's work of receiving at the relay in it
	softirq       float64 // of the kernel's threads, others' packets too
	open, door    float64 // a packet: load and softirq, and that when it ends at the relay's door
}

func (m measured) note() string {
	return fmt.Sprintf("%.0f kpps, %.1f %% of %.0f lost, load %.0f ns/packet, ksoftirqd %.0f",
		float64(m.arrived)/m.took.Seconds()/1e3, 100*max(0, 1-float64(m.arrived)/float64(m.sent)), float64(m.sent),
		m.load*1e9/float64(m.sent), m.softirq*1e9/float64(m.sent))
}
