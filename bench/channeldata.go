package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"traverse.internal/core/stun"
)

// The ChannelData benches: one flow of single packets of 100 bytes, saturated.
var (
	channelDataUp = bench{
		name:  "channeldata up",
		units: []string{"relay ns/packet"},
		must:  []string{"1.4x"},
		open: func(ctx context.Context, set settings) (*rig, error) {
			return openChannelData(ctx, set, true)
		},
	}
	channelDataDown = bench{
		name:  "channeldata down",
		units: []string{"relay ns/packet"},
		must:  []string{"1.4x"},
		open: func(ctx context.Context, set settings) (*rig, error) {
			return openChannelData(ctx, set, false)
		},
	}
)

const (
	payload = 100 // bytes

	// batch is how many packets one system call of the load moves, and window how
	// many are under way: enough that the relay always finds some waiting, and
	// little enough for its socket buffer (512 × about 800 bytes of accounting,
	// where coturn and Linux's default allow 208 KiB: 256 is the most that fits).
	batch  = 32
	window = 192
)

func openChannelData(ctx context.Context, set settings, up bool) (*rig, error) {
	list, missing, stop, err := relays(ctx, set)
	if err != nil {
		return nil, err
	}
	g := &rig{missing: missing, close: stop}
	for _, r := range list {
		g.variants = append(g.variants, variant{r.name, false, func(ctx context.Context) (sample, error) {
			return runChannelData(ctx, r, set.load, up)
		}})
	}
	return g, nil
}

func runChannelData(ctx context.Context, r relay, load time.Duration, up bool) (sample, error) {
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return sample{}, err
	}
	defer peer.Close()
	client, err := bindChannel(r.addr, peer.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", r.name, err)
	}
	defer client.conn.Close()

	l := &udpLoad{from: client.conn, to: peer}
	if up {
		l.packet = stun.AppendChannelDataHeader(nil, benchChannel, payload)
	} else {
		l.from, l.to = peer, client.conn
		l.dst = net.UDPAddrFromAddrPort(client.relayed)
	}
	l.packet = append(l.packet, make([]byte, payload)...)

	pinSelf()
	warm, cancel := context.WithTimeout(ctx, load/5)
	defer cancel()
	if err := l.run(warm); err != nil {
		return sample{}, err
	}
	l.arrived, l.lost = 0, 0
	timed, cancel := context.WithTimeout(ctx, load)
	defer cancel()
	cost, err := r.cost(func() (float64, error) {
		err := l.run(timed)
		return float64(l.arrived), err
	})
	note := fmt.Sprintf("%.0f kpps, %d lost", float64(l.arrived)/load.Seconds()/1e3, l.lost)
	return sample{[]float64{cost * 1e9}, note}, err
}

// udpLoad sends packets through a relay and takes them at the other end, in a
// closed loop on one thread.
type udpLoad struct {
	from, to      *net.UDPConn
	dst           net.Addr // of unconnected sockets
	packet        []byte
	arrived, lost int
}

func (l *udpLoad) run(ctx context.Context) error {
	l.to.SetReadBuffer(4 << 20) // as much as the system gives; the window fits anyway
	out, in := ipv4.NewPacketConn(l.from), ipv4.NewPacketConn(l.to)
	send := make([]ipv4.Message, batch)
	take := make([]ipv4.Message, window)
	for i := range send {
		send[i] = ipv4.Message{Buffers: [][]byte{l.packet}, Addr: l.dst}
	}
	for i := range take {
		take[i].Buffers = [][]byte{make([]byte, 2048)}
	}
	flying := 0
	for ctx.Err() == nil {
		for flying+batch <= window {
			n, err := out.WriteBatch(send, 0)
			if err != nil && !errors.Is(err, unix.ECONNREFUSED) {
				return err
			}
			flying += n
		}
		if err := l.to.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			return err
		}
		n, err := in.ReadBatch(take, 0)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			// What has not come by now was dropped on the way.
			l.lost += flying
			flying = 0
		case err != nil:
			return err
		}
		l.arrived += n
		flying = max(0, flying-n)
	}
	return nil
}
