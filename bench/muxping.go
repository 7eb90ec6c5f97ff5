package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/core/mux"
)

// pingBenches measure what somebody waits for: a message and its echo on one channel while another is saturated, over loopback
// and over a link of 20 Mbit/s, and a second channel on a session that is there.
func pingBenches() []bench {
	excess := "p99 of a ping under bulk, ms above idle"
	return []bench{{
		group: "mux", name: "ping under bulk, loopback", quick: true,
		units: []unit{{excess, atMost(5, 1)}, {"second channel, median ms", atMost(0.25, 0.1)}},
		open:  func(_ context.Context, set settings) (*rig, error) { return openPing(set, nil) },
	}, {
		group: "mux", name: "ping under bulk, 20 Mbit/s", quick: true,
		units: []unit{{excess, atMost(30, 10)}},
		open: func(_ context.Context, set settings) (*rig, error) {
			if err := set.pool.needLab(); err != nil {
				return nil, err
			}
			h, err := set.pool.host("slow link")
			if err != nil {
				return nil, err
			}
			// A queue of 32 KiB, 13 ms: what stands in longer ones is TCP's, whoever writes.
			err = errors.Join(
				command("tc", "qdisc", "replace", "dev", h.dev, "root", "tbf", "rate", "20mbit", "burst", "16kb", "limit", "32kb"),
				inside(h.ns, func() error {
					return command("tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", "20mbit", "burst", "16kb", "limit", "32kb")
				}))
			if err != nil {
				return nil, err
			}
			return openPing(set, h)
		},
	}}
}

func openPing(set settings, h *host) (*rig, error) {
	g := &rig{close: func() {}}
	load := 10 * set.load // a slow link brings some forty pings a second
	for _, kind := range []string{"mux", "yamux", "smux"} {
		g.variants = append(g.variants, variant{kind, false, func(ctx context.Context) (sample, error) {
			sent, _, err := runPairTo(ctx, h, kind+" ping", load+30*time.Second, nil, []string{load.String()})
			if err != nil || len(sent.Millis) != 4 {
				return sample{}, cmp.Or(err, errors.New("no times reported"))
			}
			p99, second, p50, idle := sent.Millis[0], sent.Millis[1], sent.Millis[2], sent.Millis[3]
			cost := []float64{max(0, p99-idle), second}
			if h != nil {
				cost = cost[:1]
			}
			return sample{cost, fmt.Sprintf("p50 %.2f, p99 %.2f, idle p99 %.2f ms, %.0f MB/s", p50, p99, idle, float64(sent.Bytes)/1e6/sent.Wall)}, nil
		}})
	}
	return g, nil
}

// answerPings reads the first stream to its end and echoes on all others, until accept
// fails since the session has ended.
func answerPings(accept func() (io.ReadWriteCloser, error)) (report, error) {
	return spent(func() (int64, error) {
		var work sync.WaitGroup
		var n int64
		for first := true; ; first = false {
			c, err := accept()
			if err != nil {
				work.Wait()
				return n, nil
			}
			if first {
				work.Go(func() {
					n, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 256<<10)) // smux's WriteTo gives no credit back
				})
				continue
			}
			work.Go(func() {
				_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
				c.Close()
			})
		}
	})
}

// echo passes a message of 64 bytes there and back, and returns how long it took.
func echo(c io.ReadWriter) (time.Duration, error) {
	var message [64]byte
	began := time.Now()
	if _, err := c.Write(message[:]); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(c, message[:])
	return time.Since(began), err
}

// measurePings opens the streams that answerPings takes, the bulk one first, and
// reports p99 and the median of a second channel, then p50 and the idle p99.
func measurePings(open func() (io.ReadWriteCloser, error), ready func(io.ReadWriter) error, args []string) (report, error) {
	if len(args) != 1 {
		return report{}, errors.New("want a duration")
	}
	load, err := time.ParseDuration(args[0])
	if err != nil {
		return report{}, err
	}
	bulk, err := open()
	if err != nil {
		return report{}, err
	}
	if _, err := bulk.Write([]byte{0}); err != nil {
		return report{}, err
	}
	var opens []float64
	for range 300 {
		began := time.Now()
		c, err := open()
		if err == nil {
			err = ready(c)
		}
		if err != nil {
			return report{}, err
		}
		opens = append(opens, time.Since(began).Seconds()*1e3)
		c.Close()
	}
	c, err := open()
	if err != nil {
		return report{}, err
	}
	idle, err := pingFor(c, 300*time.Millisecond)
	if err != nil {
		return report{}, err
	}
	var busy []float64
	r, err := spent(func() (int64, error) {
		var n int64
		var stop atomic.Bool
		var flooding sync.WaitGroup
		flooding.Go(func() {
			for message := make([]byte, 64<<10); !stop.Load(); n += int64(len(message)) {
				if _, err := bulk.Write(message); err != nil {
					return
				}
			}
		})
		var err error
		busy, err = pingFor(c, load)
		stop.Store(true)
		flooding.Wait()
		return n, err
	})
	r.Millis = []float64{quantile(busy, 0.99), quantile(opens, 0.5), quantile(busy, 0.5), quantile(idle, 0.99)}
	return r, err
}

// pingFor sends a ping every millisecond and returns their times in milliseconds.
func pingFor(c io.ReadWriter, d time.Duration) (times []float64, err error) {
	for stop := time.Now().Add(d); time.Now().Before(stop); time.Sleep(time.Millisecond) {
		took, err := echo(c)
		if err != nil {
			return nil, err
		}
		times = append(times, took.Seconds()*1e3)
	}
	return times, nil
}

// quantile returns the smallest value that q of all values are not above.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1))]
}

// muxPingKind is ours. A channel is there when the other side has accepted it.
type muxPingKind struct{}

func (muxPingKind) receive(ctx context.Context, _ []string, say func(string)) (report, error) {
	c, end, err := acceptChannel(ctx, say)
	if err != nil {
		return report{}, err
	}
	defer end()
	first := true
	return answerPings(func() (io.ReadWriteCloser, error) {
		if first {
			first = false
			return c, nil
		}
		r, err := c.Session().Accept(ctx)
		if err != nil {
			return nil, err
		}
		return r.Accept()
	})
}

func (muxPingKind) send(ctx context.Context, addr string, args []string) (report, error) {
	bulk, end, err := openChannel(ctx, addr, "bulk")
	if err != nil {
		return report{}, err
	}
	defer end()
	bulk.SetPriority(mux.Bulk)
	first := true
	return measurePings(func() (io.ReadWriteCloser, error) {
		if first {
			first = false
			return bulk, nil
		}
		c, err := bulk.Session().Open(ctx, "ping")
		if err != nil {
			return nil, err
		}
		c.SetPriority(mux.Interactive)
		return c, nil
	}, func(io.ReadWriter) error { return nil }, args)
}
