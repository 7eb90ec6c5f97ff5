package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"traverse.internal/core/mux"
	"traverse.internal/transfer"
)

// openWarm sends a file of 1 KiB again and again on a session that is there: what somebody waits for who sends something
// small to somebody they talk to. The others have no session that stays, so each copy of theirs begins anew.
func openWarm(_ context.Context, set settings) (*rig, error) {
	small := set
	small.file = 1 << 10
	f, g, err := newFileRun(small, 0)
	if err != nil {
		return nil, err
	}
	g.variants = []variant{{"transfer", false, func(ctx context.Context) (sample, error) {
		inbox := filepath.Join(f.dir, "inbox")
		defer os.RemoveAll(inbox)
		sent, _, err := runPair(ctx, "warm", time.Minute, []string{inbox}, []string{f.source})
		if err != nil {
			return sample{}, err
		}
		return sample{[]float64{quantile(sent.Millis, 0.5)}, fmt.Sprintf("slowest of %d: %.2f ms", len(sent.Millis), quantile(sent.Millis, 1))}, nil
	}}}
	cold := func(run func(ctx context.Context) (sample, float64, error)) func(ctx context.Context) (sample, error) {
		return func(ctx context.Context) (sample, error) {
			s, wall, err := run(ctx)
			return sample{[]float64{wall * 1e3}, s.note}, err
		}
	}
	if scp, missing, err := newSCP(f); err != nil || missing != "" {
		g.missing = append(g.missing, missing)
	} else {
		g.variants = append(g.variants, variant{"scp", false, cold(scp.copy)})
	}
	if rsync, missing := newRsync(f); missing != "" {
		g.missing = append(g.missing, missing)
	} else {
		g.variants = append(g.variants, variant{"rsync, no crypto", true, cold(rsync.copy)})
	}
	return g, nil
}

const warmFiles = 30

// warmKind sends the same file warmFiles times on one session.
type warmKind struct{}

func (warmKind) receive(ctx context.Context, args []string, say func(string)) (report, error) {
	if len(args) != 1 {
		return report{}, fmt.Errorf("want a directory, have %q", args)
	}
	dir, err := transfer.OpenDir(args[0])
	if err != nil {
		return report{}, err
	}
	defer dir.Close()
	c, end, err := acceptChannel(ctx, say)
	if err != nil {
		return report{}, err
	}
	defer end()
	return spent(func() (n int64, err error) {
		for i := range warmFiles {
			in, err := transfer.ReadOffer(ctx, c, transfer.ReceiveOptions{})
			if err != nil {
				return n, err
			}
			res, err := in.Accept(ctx, dir, transfer.AcceptOptions{})
			if err != nil {
				return n, err
			}
			n += res.Size
			if i == warmFiles-1 {
				break
			}
			r, err := c.Session().Accept(ctx)
			if err == nil {
				c, err = r.Accept()
			}
			if err != nil {
				return n, err
			}
		}
		return n, nil
	})
}

func (warmKind) send(ctx context.Context, addr string, args []string) (report, error) {
	if len(args) != 1 {
		return report{}, fmt.Errorf("want a file, have %q", args)
	}
	id := transfer.NewID()
	c, end, err := openChannel(ctx, addr, transfer.ChannelName(id))
	if err != nil {
		return report{}, err
	}
	session := c.Session()
	var times []float64
	r, err := spent(func() (n int64, err error) {
		for range warmFiles {
			began := time.Now()
			if c == nil {
				id = transfer.NewID()
				if c, err = session.Open(ctx, transfer.ChannelName(id)); err != nil {
					return n, err
				}
			}
			src, err := transfer.NewSource(args[0])
			if err != nil {
				return n, err
			}
			res, err := transfer.Send(ctx, c, src, transfer.SendOptions{ID: id})
			if err = errors.Join(err, src.Close()); err != nil {
				return n, err
			}
			times = append(times, time.Since(began).Seconds()*1e3)
			n += res.Size
			c = nil
		}
		return n, nil
	})
	r.Millis = times
	end()
	return r, err
}

// openSlow floods a receiver that does not read, and looks at its memory.
func openSlow(_ context.Context, set settings) (*rig, error) {
	g := &rig{close: func() {}}
	g.variants = []variant{{"mux", false, func(ctx context.Context) (sample, error) {
		_, received, err := runPair(ctx, "slow", time.Minute, []string{(4 * set.load).String()}, nil)
		return sample{[]float64{float64(received.Memory) / 1e6}, "sender floods 8 channels"}, err
	}}}
	return g, nil
}

// slowKind is 8 channels that are written and not read.
type slowKind struct{}

func (slowKind) receive(ctx context.Context, args []string, say func(string)) (report, error) {
	if len(args) != 1 {
		return report{}, fmt.Errorf("want a duration, have %q", args)
	}
	wait, err := time.ParseDuration(args[0])
	if err != nil {
		return report{}, err
	}
	c, _, err := acceptChannel(ctx, say)
	if err != nil {
		return report{}, err
	}
	for range 7 {
		r, err := c.Session().Accept(ctx)
		if err == nil {
			_, err = r.Accept()
		}
		if err != nil {
			return report{}, err
		}
	}
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return report{}, err
	}
	memory, err := rssAnon(text)
	c.Session().Close()
	<-c.Session().Done()
	return report{Memory: memory}, err
}

func (slowKind) send(ctx context.Context, addr string, _ []string) (report, error) {
	c, end, err := openChannel(ctx, addr, "slow")
	if err != nil {
		return report{}, err
	}
	defer end()
	channels := []*mux.Channel{c}
	for range 7 {
		c, err := c.Session().Open(ctx, "slow")
		if err != nil {
			return report{}, err
		}
		channels = append(channels, c)
	}
	for _, c := range channels {
		go floodUntilEnd(c)
	}
	<-c.Session().Done()
	return report{}, nil
}

func floodUntilEnd(c *mux.Channel) {
	for message := make([]byte, 64<<10); ; {
		if _, err := c.Write(message); err != nil {
			return
		}
	}
}
