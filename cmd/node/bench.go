package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/config"
	"traverse.internal/daemon"
	"traverse.internal/demo"
	"traverse.internal/internal/cli"
)

const (
	benchTimeout = 5 * time.Minute
	maxEarlier   = 1 << 20  // bytes of the file that --compare reads
	maxLocal     = 16 << 30 // bytes of the file that bench local stores
)

// benched is what bench prints.
type benched struct {
	daemon.BenchObject
	Compare []benchRatio `json:"compare,omitempty"`
}

// benchRatio is how a figure stands to an earlier one.
type benchRatio struct {
	Figure string  `json:"figure"`
	Before float64 `json:"before"`
	Now    float64 `json:"now"`
	Ratio  float64 `json:"ratio"`  // now to before
	Better bool    `json:"better"` // more MB/s, or less of anything else
}

func (a *app) benchCommand() *cobra.Command {
	var size, earlier string
	cmd := &cobra.Command{
		Use: "bench local | PEER", Short: "measure what a way carries, and what that costs", Args: exactArgs(1),
		Long: `With local two nodes run in this process, over loopback: TLS, mux, and a file that is verified and stored; no daemon is needed. With a contact's name the running node measures
the way to it, by a stream; the contact must have said so: node contact set NAME bench=on. That side takes 1 GiB and a minute at most, one measurement at a time. Figures are MB (10^6 bytes) a second,
processor seconds a GiB (of this side's process; with local of both), the median of opening a second channel, and round trips on the idle session and under the stream. What else runs on the machine moves them: compare
several runs, --compare with the --json of an earlier one.`,
		Example: "  node bench local\n  node bench local --json > before.json\n  node bench local --compare before.json\n  node bench phone --size 256MiB",
		RunE: func(cmd *cobra.Command, args []string) error {
			local := args[0] == "local"
			most := int64(daemon.MaxBench)
			if local {
				most = maxLocal
			}
			bytes, err := config.ParseSize(size)
			if err == nil && (bytes < 1 || int64(bytes) > most) {
				err = fmt.Errorf("%v is not from 1B to %v", bytes, config.Size(most))
			}
			if err != nil {
				return usage(cmd, fmt.Errorf("--size: %w", err))
			}
			var before *daemon.BenchObject
			if earlier != "" {
				if before, err = readBench(earlier); err != nil {
					return err
				}
			}
			ctx, cancel := a.limit(cmd.Context(), benchTimeout)
			defer cancel()
			out, err := a.bench(ctx, args[0], local, int64(bytes))
			if err != nil {
				return err
			}
			shown := benched{BenchObject: out}
			if before != nil {
				shown.Compare = compareBench(*before, out)
			}
			return a.print(shown, func(w io.Writer) { printBench(w, shown) })
		},
	}
	cmd.Flags().StringVar(&size, "size", "256MiB", "bytes to send; to a contact 1GiB at most")
	cmd.Flags().StringVar(&earlier, "compare", "", "file with the --json of an earlier run; ratios to it are printed")
	return cmd
}

func (a *app) bench(ctx context.Context, who string, local bool, size int64) (daemon.BenchObject, error) {
	if !local {
		c, err := a.client()
		if err != nil {
			return daemon.BenchObject{}, err
		}
		return c.Bench(ctx, daemon.BenchRequest{Peer: who, Size: size})
	}
	out, err := demo.Bench(ctx, "", size)
	var told *cli.Error
	switch {
	case err == nil || errors.As(err, &told):
	case errors.Is(err, context.DeadlineExceeded):
		err = cli.Errorf("E_TIMEOUT", "the measurement took too long").Because(err).Hint("a smaller --size, or a longer --timeout")
	case ctx.Err() == nil:
		err = cli.Errorf("E_LOCAL_IO", "cannot measure").Because(err).Hint("a folder with room for twice the --size: TMPDIR=DIR")
	}
	return out, err
}

// readBench reads what an earlier run has printed.
func readBench(path string) (*daemon.BenchObject, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, cli.Errorf("E_LOCAL_IO", "cannot read the earlier run").Because(err)
	}
	defer f.Close()
	var b daemon.BenchObject
	if err = json.NewDecoder(io.LimitReader(f, maxEarlier)).Decode(&b); err == nil && b.Kind != "bench" {
		err = fmt.Errorf("%s is no object of bench", path)
	}
	if err != nil {
		return nil, cli.Errorf("E_USAGE", "this is not the --json of an earlier run").Because(err).Hint("node bench local --json > FILE")
	}
	return &b, nil
}

// compareBench sets the figures that both have side by side.
func compareBench(before, now daemon.BenchObject) (list []benchRatio) {
	add := func(figure string, was, is float64, more bool) {
		if was > 0 && is > 0 {
			list = append(list, benchRatio{figure, was, is, is / was, is == was || is > was == more})
		}
	}
	rates := func(name string, was, is daemon.BenchRate) {
		add(name+".mb_per_s", was.MBps, is.MBps, true)
		add(name+".cpu_s_per_gib", was.CPU, is.CPU, false)
	}
	rates("stream", before.Stream, now.Stream)
	if before.File != nil && now.File != nil {
		rates("file", *before.File, *now.File)
	}
	add("second_channel_ns", float64(before.Channel), float64(now.Channel), false)
	add("ping_idle.p50_ns", float64(before.Idle.P50), float64(now.Idle.P50), false)
	add("ping_idle.p99_ns", float64(before.Idle.P99), float64(now.Idle.P99), false)
	add("ping_load.p50_ns", float64(before.Load.P50), float64(now.Load.P50), false)
	add("ping_load.p99_ns", float64(before.Load.P99), float64(now.Load.P99), false)
	return list
}

func printBench(w io.Writer, b benched) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "way\t%s to %s\n", route(w, b.Path, "-"), b.Peer.Name)
	rate := func(name string, r daemon.BenchRate) {
		fmt.Fprintf(tw, "%s\t%.0f MB/s\t%.2f CPU s/GiB\t%s in %s\n", name, r.MBps, r.CPU, cli.Size(r.Bytes), r.Took.Round(time.Millisecond))
	}
	rate("stream", b.Stream)
	if b.File != nil {
		rate("file", *b.File)
	}
	fmt.Fprintf(tw, "second channel\t%s\n", shortly(b.Channel))
	fmt.Fprintf(tw, "ping, idle\tp50 %s\tp99 %s\t%d pings\n", shortly(b.Idle.P50), shortly(b.Idle.P99), b.Idle.Count)
	fmt.Fprintf(tw, "ping, under the stream\tp50 %s\tp99 %s\t%d pings\n", shortly(b.Load.P50), shortly(b.Load.P99), b.Load.Count)
	tw.Flush()
	if len(b.Compare) == 0 {
		return
	}
	fmt.Fprintln(w, "\nto the earlier run")
	for _, c := range b.Compare {
		colour, word := cli.Bad, "worse"
		if c.Better {
			colour, word = cli.Good, "no worse"
		}
		fmt.Fprintf(tw, "%s\t%.2f times\t%s\n", c.Figure, c.Ratio, cli.Paint(w, colour, word))
	}
	tw.Flush()
}
