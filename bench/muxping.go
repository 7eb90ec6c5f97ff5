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

	"github.com/hashicorp/yamux"

	"traverse.internal/core/mux"
)

// muxPing measures what somebody waits for: a message and its echo on one channel while
// another is saturated, and a second channel on a session that is there.
var muxPing = bench{
	name:  "mux latency",
	units: []string{"ping under bulk, p99 ms", "second channel, median ms"},
	must:  []string{"", ""},
	open: func(_ context.Context, set settings) (*rig, error) {
		g := &rig{close: func() {}}
		for _, kind := range []string{"mux", "yamux"} {
			g.variants = append(g.variants, variant{kind, false, func(ctx context.Context) (sample, error) {
				sent, _, err := runPair(ctx, kind+" ping", set.load+20*time.Second, nil, []string{set.load.String()})
				if err != nil || len(sent.Millis) != 4 {
					return sample{}, cmp.Or(err, errors.New("no times reported"))
				}
				return sample{
					[]float64{sent.Millis[0], sent.Millis[1]},
					fmt.Sprintf("p50 %.2f ms, idle p99 %.2f ms, %.0f MB/s", sent.Millis[2], sent.Millis[3], float64(sent.Bytes)/1e6/sent.Wall),
				}, nil
			}})
		}
		return g, nil
	},
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
					n, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, c, make([]byte, 256<<10))
				})
				continue
			}
			work.Go(func() {
				_, _ = io.Copy(c, c)
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

// yamuxPingKind is yamux. That a stream is there it says with the first byte back.
type yamuxPingKind struct{}

func (yamuxPingKind) receive(ctx context.Context, _ []string, say func(string)) (report, error) {
	conn, err := acceptPlain(ctx, say)
	if err != nil {
		return report{}, err
	}
	s, err := yamux.Server(conn, yamuxConfig())
	if err != nil {
		return report{}, err
	}
	defer s.Close()
	return answerPings(func() (io.ReadWriteCloser, error) { return s.Accept() })
}

func (yamuxPingKind) send(ctx context.Context, addr string, args []string) (report, error) {
	conn, err := dialPlain(ctx, addr)
	if err != nil {
		return report{}, err
	}
	s, err := yamux.Client(conn, yamuxConfig())
	if err != nil {
		return report{}, err
	}
	defer s.Close()
	return measurePings(func() (io.ReadWriteCloser, error) { return s.Open() }, func(c io.ReadWriter) error {
		_, err := echo(c)
		return err
	}, args)
}
