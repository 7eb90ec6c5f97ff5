package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"traverse.internal/core/mux"
)

// muxBenches: one stream over TLS, as fast as it goes, in large writes and in messages of 1 KiB that queue; and what somebody
// waits for.
func muxBenches() []bench {
	list := []bench{{
		group: "mux", name: "mux bulk", quick: true,
		units: []unit{{"sender CPU s/GB", ratio(1.3, 1.5)}, {"receiver CPU s/GB", ratio(1.3, 1.5)}, {"sender, as it is", atMost(0.65, 0.58)}, {"receiver, as it is", atMost(0.55, 0.47)}},
		open:  func(_ context.Context, set settings) (*rig, error) { return openMux(set, 64<<10) },
	}, {
		group: "mux", name: "mux 1 KiB messages", quick: true,
		// yamux and smux write each message by itself where they can, and gather where they are starved: against them on a busy machine the ratio says little. A
		// write of 64 KiB has 63 messages, which are 16 writes a thousand; ours are 24 to 26, whoever else is there.
		units: []unit{
			{"sender CPU s/GB", ratio(8, 14).in(shown)},
			{"receiver CPU s/GB", ratio(8, 14).in(shown)},
			{"writes to the link, a thousand messages", atMost(40, 30).in(counts)},
		},
		open: func(_ context.Context, set settings) (*rig, error) { return openMux(set, 1<<10) },
	}}
	return append(list, pingBenches()...)
}

func openMux(set settings, size int) (*rig, error) {
	g := &rig{close: func() {}}
	for _, kind := range []string{"mux", "yamux", "smux", "yamux on our link"} {
		aside := kind == "yamux on our link"
		g.variants = append(g.variants, variant{kind, aside, func(ctx context.Context) (sample, error) {
			args := []string{set.load.String(), strconv.Itoa(size)}
			sent, received, err := runPair(ctx, kind, set.load+20*time.Second, nil, args)
			if err == nil && sent.Bytes != received.Bytes {
				err = fmt.Errorf("%d bytes sent, %d received", sent.Bytes, received.Bytes)
			}
			gb := float64(received.Bytes) / 1e9
			cost := []float64{sent.CPU / gb, received.CPU / gb}
			if size > 1<<10 {
				cost = append(cost, cost...)
			} else if sent.Writes > 0 {
				cost = append(cost, float64(sent.Writes)/float64(sent.Bytes/int64(size))*1000)
			}
			return sample{cost, fmt.Sprintf("%.0f MB/s", float64(sent.Bytes)/1e6/sent.Wall)}, err
		}})
	}
	return g, nil
}

// A halfCloser is a stream of either mux; yamux's Close is its half-close.
type halfCloser interface {
	io.ReadWriter
	CloseWrite() error
}

// flood writes messages for a time and waits for the receiver's end.
func flood(s halfCloser, args []string) (report, error) {
	if len(args) != 2 {
		return report{}, errors.New("want a duration and a size")
	}
	load, err := time.ParseDuration(args[0])
	if err != nil {
		return report{}, err
	}
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return report{}, err
	}
	message := make([]byte, size)
	return spent(func() (int64, error) {
		var n int64
		// The clock is asked once per 256 KiB, so that it costs small messages nothing.
		for stop := time.Now().Add(load); time.Now().Before(stop); {
			for range max(1, 256<<10/size) {
				if _, err := s.Write(message); err != nil {
					return n, err
				}
				n += int64(size)
			}
		}
		if err := s.CloseWrite(); err != nil {
			return n, err
		}
		_, err := io.Copy(io.Discard, s)
		return n, err
	})
}

// drain reads to the end, and then ends its own direction.
func drain(s halfCloser) (report, error) {
	buf := make([]byte, 256<<10)
	return spent(func() (int64, error) {
		var n int64
		for {
			k, err := s.Read(buf)
			n += int64(k)
			if errors.Is(err, io.EOF) {
				return n, s.CloseWrite()
			}
			if err != nil {
				return n, err
			}
		}
	})
}

// muxKind is ours.
type muxKind struct{}

func (muxKind) receive(ctx context.Context, _ []string, say func(string)) (report, error) {
	c, end, err := acceptChannel(ctx, say)
	if err != nil {
		return report{}, err
	}
	defer end()
	return drain(c)
}

func (muxKind) send(ctx context.Context, addr string, args []string) (report, error) {
	c, end, err := openChannel(ctx, addr, "bench")
	if err != nil {
		return report{}, err
	}
	defer end()
	before := c.Session().Stats().LinkWrites
	r, err := flood(c, args)
	r.Writes = c.Session().Stats().LinkWrites - before
	return r, err
}

// acceptChannel waits for one session and the one channel on it.
func acceptChannel(ctx context.Context, say func(string)) (*mux.Channel, func(), error) {
	accept, err := listenLink(say)
	if err != nil {
		return nil, nil, err
	}
	link, err := accept(ctx)
	if err != nil {
		return nil, nil, err
	}
	opening, err := mux.Receive(link)
	if err != nil {
		return nil, nil, err
	}
	s, err := mux.Answer(link, opening, mux.Config{})
	if err != nil {
		return nil, nil, err
	}
	r, err := s.Accept(ctx)
	if err != nil {
		s.Close()
		return nil, nil, err
	}
	c, err := r.Accept()
	if err != nil {
		s.Close()
		return nil, nil, err
	}
	// The sender closes the session; closing it here could overtake what is queued.
	return c, func() { <-s.Done() }, nil
}

// openChannel starts a session and opens a channel on it.
func openChannel(ctx context.Context, addr, name string) (*mux.Channel, func(), error) {
	return openChannelThrough(ctx, "", addr, name)
}

// openChannelThrough does so through a TURN server, unless that is empty.
func openChannelThrough(ctx context.Context, server, addr, name string) (*mux.Channel, func(), error) {
	raw, release, err := dialRaw(ctx, server, addr)
	if err != nil {
		return nil, nil, err
	}
	c, end, err := openChannelOn(ctx, raw, name)
	if err != nil {
		release()
		return nil, nil, err
	}
	return c, func() { end(); release() }, nil
}

func openChannelOn(ctx context.Context, raw net.Conn, name string) (*mux.Channel, func(), error) {
	link, err := secure(ctx, raw)
	if err != nil {
		return nil, nil, err
	}
	s, err := mux.Start(link, mux.Config{})
	if err != nil {
		return nil, nil, err
	}
	c, err := s.Open(ctx, name)
	if err != nil {
		s.Close()
		return nil, nil, err
	}
	return c, func() { s.Close(); <-s.Done() }, nil
}
