package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"traverse.internal/core/stun"
)

// serverBenches is what a relay needs besides packets: memory, allocations a second, its start, and what strangers can do to it.
func serverBenches() []bench {
	one := func(name, unitName string, g goal, quick bool, names []string, run func(ctx context.Context, p *pool, r relay) (sample, error)) bench {
		return bench{group: "server", name: name, quick: quick, units: []unit{{unitName, g}}, open: func(ctx context.Context, set settings) (*rig, error) {
			return set.pool.rig(ctx, names, func(ctx context.Context, r relay) (sample, error) { return run(ctx, set.pool, r) })
		}}
	}
	all := []string{ours, coturn, anyOther, pion}
	return []bench{
		one("memory of an idle allocation", "KB", atMost(10, 4), true, all, idleMemory),
		one("allocate and delete", "relay CPU µs (2,000 a second and core are 500)", atMost(500, 100), true, all, allocationRate),
		one("start to first answer", "ms", atMost(100, 30), false, all, startUp),
		one("flood of Allocate from addresses that do not exist", "growth in MB", atMost(1, 0.05), false, all, floodAllocate),
	}
}

// idleMemory makes 4,000 allocations, and leaves them: their sockets here are closed. The first 500 are not counted, since
// there is much that every server takes once.
func idleMemory(ctx context.Context, p *pool, r relay) (sample, error) {
	const first, counted = 500, 4000
	r, err := p.start(ctx, r.name)
	if err != nil {
		return sample{}, err
	}
	defer p.end(r.name) // which has thousands of allocations that nobody wants
	fill := func(n int) (int64, error) {
		for range n {
			c, err := allocate(r.host.client[v4], r.addr)
			if err != nil {
				return 0, err
			}
			c.conn.Close()
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
		}
		return r.memory()
	}
	before, err := fill(first)
	if err != nil {
		return sample{}, err
	}
	after, err := fill(counted)
	return sample{[]float64{float64(after-before) / counted / 1e3}, fmt.Sprintf("%d allocations, %.1f MB in all", first+counted, float64(after)/1e6)}, err
}

// allocationRate makes and deletes allocations one after the other, each as a client who has never been there: three requests.
func allocationRate(ctx context.Context, _ *pool, r relay) (sample, error) {
	const n = 300
	began := time.Now()
	cost, err := r.cost(func() (float64, error) {
		for range n {
			c, err := allocate(r.host.client[v4], r.addr)
			if err != nil {
				return 0, err
			}
			c.release()
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
		}
		return n, nil
	})
	return sample{[]float64{cost * 1e6}, fmt.Sprintf("%.0f a second and core, %.0f a second here", 1/cost, n/time.Since(began).Seconds())}, err
}

// startUp is the time from fork to the first answer to a Binding request.
func startUp(ctx context.Context, p *pool, r relay) (sample, error) {
	p.end(r.name)
	began, err := p.launch(ctx, r.name)
	return sample{[]float64{began.Seconds() * 1e3}, ""}, err
}

// floodAllocate has 60,000 clients who do not exist ask for an allocation.
func floodAllocate(ctx context.Context, p *pool, r relay) (sample, error) {
	if err := p.needLab(); err != nil {
		return sample{}, err
	}
	r, err := p.start(ctx, r.name)
	if err != nil {
		return sample{}, err
	}
	w, err := r.host.openWire()
	if err != nil {
		return sample{}, err
	}
	defer w.close()
	b := stun.New(nil, stun.MethodAllocate.Request(), stun.NewTransactionID())
	b.AddRequestedTransport(stun.TransportUDP)
	b.AddFingerprint()
	var frames [][]byte
	for i := range 60_000 {
		from := netip.AddrFrom4([4]byte{10, 78, byte(i >> 8), byte(i)})
		frames = append(frames, r.host.frame(netip.AddrPortFrom(from, uint16(1024+i)), r.addr, b.Bytes(), 0))
	}
	// What every server takes once is not counted: two thirds of the strangers come before.
	counted := len(frames) / 3 * 2
	d := &driver{way: w, frames: frames[:counted], rate: 40_000}
	if err := d.run(ctx, 2*time.Second); err != nil {
		return sample{}, err
	}
	before, err := r.memory()
	if err != nil {
		return sample{}, err
	}
	d = &driver{way: w, frames: frames[counted:], rate: 40_000}
	if err := d.run(ctx, time.Second); err != nil {
		return sample{}, err
	}
	time.Sleep(50 * time.Millisecond) // what is queued is answered, or not
	after, err := r.memory()
	return sample{[]float64{max(0, float64(after-before)/1e6)}, fmt.Sprintf("%d requests", d.sent)}, err
}

// launch starts a relay and asks it every millisecond until it answers.
func (p *pool) launch(ctx context.Context, name string) (time.Duration, error) {
	h, err := p.host(name)
	if err != nil {
		return 0, err
	}
	start, err := p.starter(name)
	if err != nil {
		return 0, err
	}
	port, err := h.freePort()
	if err != nil {
		return 0, err
	}
	addr := netip.AddrPortFrom(h.relay[v4], port)
	began := time.Now()
	proc, err := start(h, fmt.Sprint(port))
	if err != nil {
		return 0, err
	}
	defer proc.stop()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	b := stun.New(nil, stun.MethodBinding.Request(), stun.NewTransactionID())
	buf := make([]byte, 1500)
	for time.Since(began) < 15*time.Second && ctx.Err() == nil {
		if _, err := conn.Write(b.Bytes()); err != nil { // the port is not open yet
			time.Sleep(time.Millisecond)
			continue
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			return 0, err
		}
		if _, err := conn.Read(buf); err == nil {
			return time.Since(began), nil
		}
	}
	return 0, fmt.Errorf("%s does not answer: %s", name, proc.tail)
}
