package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"traverse.internal/core/turnclient"
)

// connsEach is how many of them are of one allocation.
const connsEach = 16

// tcpShape is a load of RFC 6062 connections.
type tcpShape struct {
	conns, chunk int
	rate         float64 // bytes a second, all together; 0: as many as go
}

func tcpBenches() []bench {
	list := []struct {
		name  string
		shape tcpShape
		goals []unit
		quick bool
	}{
		{"tcp relay, bulk, 1 connection", tcpShape{1, 256 << 10, 0}, []unit{{"relay CPU s/GB", ratio(10, 15)}, {"the same, as it is", atMost(0.32, 0.32)}}, true},
		{"tcp relay, bulk, 96 connections", tcpShape{96, 256 << 10, 0}, []unit{{"relay CPU s/GB", ratio(10, 15)}}, false},
		{"tcp relay, 16 KiB chunks, 32 connections, 150 MB/s", tcpShape{32, 16 << 10, 150e6}, []unit{{"relay CPU s/GB", ratio(2.5, 3.5)}}, true},
		{"tcp relay, 16 KiB chunks, 96 connections, 150 MB/s", tcpShape{96, 16 << 10, 150e6}, []unit{{"relay CPU s/GB", ratio(2.5, 3.5)}}, false},
	}
	var benches []bench
	for _, b := range list {
		benches = append(benches, bench{group: "tcp", name: b.name, units: b.goals, quick: b.quick, open: func(ctx context.Context, set settings) (*rig, error) {
			return set.pool.rig(ctx, []string{ours, coturn, anyOther}, func(ctx context.Context, r relay) (sample, error) {
				s, err := runTCPRelay(ctx, r, set.load, b.shape)
				for len(s.cost) < len(b.goals) {
					s.cost = append(s.cost, s.cost[0])
				}
				return s, err
			})
		}})
	}
	return benches
}

func runTCPRelay(ctx context.Context, r relay, load time.Duration, shape tcpShape) (sample, error) {
	none := sample{cost: []float64{0}}
	var pairs []tcpPair
	defer func() {
		for _, p := range pairs {
			p.from.Close()
			p.to.Close()
		}
	}()
	var allocation *turnclient.Allocation
	for i := range shape.conns {
		if i%connsEach == 0 {
			client, err := turnclient.Dial(ctx, turnclient.Config{Server: r.addr, Username: relayUser, Password: relayPassword})
			if err != nil {
				return none, err
			}
			defer client.Close()
			if allocation, err = client.Allocate(ctx, turnclient.IPv4); err != nil {
				return none, err
			}
			defer allocation.Close()
			if err := allocation.Permit(ctx, r.host.peer[v4]); err != nil {
				return none, err
			}
		}
		p, err := connectThrough(ctx, allocation, r.host)
		if err != nil {
			return none, err
		}
		pairs = append(pairs, p)
	}
	pinSelf()
	var speed float64
	cost, err := r.cost(func() (float64, error) {
		began := time.Now()
		n, err := pumpAll(pairs, shape, load)
		speed = float64(n) / 1e6 / time.Since(began).Seconds()
		return float64(n) / 1e9, err
	})
	return sample{[]float64{cost}, fmt.Sprintf("%.0f MB/s", speed)}, err
}

// tcpPair is both ends of a relayed connection.
type tcpPair struct{ from, to *net.TCPConn }

// connectThrough makes one, to a peer of its own: an allocation has one connection to a peer (RFC 6062 §4.3).
func connectThrough(ctx context.Context, allocation *turnclient.Allocation, h *host) (p tcpPair, err error) {
	peer, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: h.peer[v4].AsSlice()})
	if err != nil {
		return p, err
	}
	defer peer.Close()
	if p.from, err = allocation.Connect(ctx, peer.Addr().(*net.TCPAddr).AddrPort()); err != nil {
		return p, err
	}
	if err = peer.SetDeadline(time.Now().Add(5 * time.Second)); err == nil {
		p.to, err = peer.AcceptTCP()
	}
	if err != nil {
		p.from.Close()
	}
	return p, err
}

// pumpAll writes for a time, waits until all of it has come out at the other ends, and returns how much that was. It does not
// end the streams first: coturn answers that with a reset, and what is on its way is lost.
func pumpAll(pairs []tcpPair, shape tcpShape, load time.Duration) (int64, error) {
	if shape.rate > 0 {
		return pace(pairs, shape, load)
	}
	var work sync.WaitGroup
	sent := make([]int64, len(pairs))
	failed := make([]error, len(pairs))
	for i, p := range pairs {
		work.Go(func() { sent[i], failed[i] = pump(p.from, p.to, shape.chunk, load) })
	}
	work.Wait()
	total := int64(0)
	for _, n := range sent {
		total += n
	}
	return total, errors.Join(failed...)
}

func pump(from, to *net.TCPConn, size int, load time.Duration) (int64, error) {
	total := make(chan int64, 1)
	ended := make(chan error, 1)
	go func() { ended <- sink(to, total) }()
	chunk := make([]byte, size)
	var sent int64
	for stop := time.Now().Add(load); time.Now().Before(stop); {
		n, err := from.Write(chunk)
		sent += int64(n)
		if err != nil {
			to.Close()
			return 0, errors.Join(err, <-ended)
		}
	}
	total <- sent
	return sent, <-ended
}

// pace writes chunks on one connection after the other at a rate. What is late is made up for.
func pace(pairs []tcpPair, shape tcpShape, load time.Duration) (int64, error) {
	totals := make([]chan int64, len(pairs))
	ended := make(chan error, len(pairs))
	for i, p := range pairs {
		totals[i] = make(chan int64, 1)
		go func() { ended <- sink(p.to, totals[i]) }()
	}
	chunk := make([]byte, shape.chunk)
	each := make([]int64, len(pairs))
	var sent int64
	var err error
	began := time.Now()
	for i := 0; err == nil && time.Since(began) < load; {
		if due := int64(time.Since(began).Seconds() * shape.rate); sent+int64(shape.chunk) > due {
			time.Sleep(50 * time.Microsecond)
			continue
		}
		var n int
		n, err = pairs[i].from.Write(chunk)
		sent += int64(n)
		each[i] += int64(n)
		i = (i + 1) % len(pairs)
	}
	for i, total := range totals {
		total <- each[i]
	}
	for range pairs {
		err = errors.Join(err, <-ended)
	}
	return sent, err
}

// sink reads until as much has come as total says, which is known at the end.
func sink(c *net.TCPConn, total <-chan int64) error {
	buf := make([]byte, 1<<20)
	var got int64
	want := int64(-1)
	for got != want {
		select {
		case want = <-total:
			continue
		default:
		}
		// Short while the total is not known, so that it is noticed soon.
		wait := 100 * time.Millisecond
		if want >= 0 {
			wait = 10 * time.Second
		}
		if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		n, err := c.Read(buf)
		got += int64(n)
		if err != nil && (want >= 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return fmt.Errorf("%d of %d bytes arrived: %w", got, want, err)
		}
	}
	return nil
}
