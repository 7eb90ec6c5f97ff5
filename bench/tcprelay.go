package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"traverse.internal/core/turnclient"
)

// tcpRelay is one RFC 6062 connection at full speed.
var tcpRelay = bench{
	name:  "tcp relay",
	units: []string{"relay CPU s/GB"},
	must:  []string{"10x"},
	open: func(ctx context.Context, set settings) (*rig, error) {
		list, missing, stop, err := relays(ctx, set)
		if err != nil {
			return nil, err
		}
		g := &rig{missing: missing, close: stop}
		for _, r := range list {
			g.variants = append(g.variants, variant{r.name, false, func(ctx context.Context) (sample, error) {
				return runTCPRelay(ctx, r, set.load)
			}})
		}
		return g, nil
	},
}

func runTCPRelay(ctx context.Context, r relay, load time.Duration) (sample, error) {
	peer, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return sample{}, err
	}
	defer peer.Close()
	client, err := turnclient.Dial(ctx, turnclient.Config{Server: r.addr, Username: relayUser, Password: relayPassword})
	if err != nil {
		return sample{}, err
	}
	defer client.Close()
	allocation, err := client.Allocate(ctx, turnclient.IPv4)
	if err != nil {
		return sample{}, err
	}
	defer allocation.Close()
	to := peer.Addr().(*net.TCPAddr).AddrPort()
	if err := allocation.Permit(ctx, to.Addr()); err != nil {
		return sample{}, err
	}
	conn, err := allocation.Connect(ctx, to)
	if err != nil {
		return sample{}, err
	}
	defer conn.Close()
	sink, err := peer.AcceptTCP()
	if err != nil {
		return sample{}, err
	}
	defer sink.Close()

	pinSelf()
	var speed float64
	cost, err := r.cost(func() (float64, error) {
		began := time.Now()
		n, err := pump(conn, sink, load)
		speed = float64(n) / 1e6 / time.Since(began).Seconds()
		return float64(n) / 1e9, err
	})
	return sample{[]float64{cost}, fmt.Sprintf("%.0f MB/s", speed)}, err
}

// pump writes as fast as it can for a time, waits until all of it has come out at
// the other end, and returns how much that was. It does not end the stream first:
// coturn answers that with a reset, and what is on its way is lost.
func pump(from, to *net.TCPConn, load time.Duration) (int64, error) {
	total := make(chan int64, 1)
	ended := make(chan error, 1)
	go func() { ended <- sink(to, total) }()
	chunk := make([]byte, 256<<10)
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
