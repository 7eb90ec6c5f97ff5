package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/core/ice"
	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

// pingTimeout bounds one ping, the making of a session included.
const pingTimeout = connectTime + 15*time.Second

// pings is what `ping` prints with --json.
type pings struct {
	cli.Envelope
	Peer   string        `json:"peer"`
	Direct bool          `json:"direct"` // the last ping went a direct way
	Sent   int           `json:"sent"`
	Came   int           `json:"came"`
	Least  time.Duration `json:"least_ns"`
	Most   time.Duration `json:"most_ns"`
	Pings  []pinged      `json:"pings"`
}

// pinged is one of them.
type pinged struct {
	Seq   int           `json:"seq"`
	Open  time.Duration `json:"open_ns"` // with the session, where there was none
	Echo  time.Duration `json:"echo_ns"`
	Path  *daemon.Path  `json:"path,omitempty"`
	Error *cli.Error    `json:"error,omitempty"`
}

// pingOptions are the flags of `ping`.
type pingOptions struct {
	count       int
	size        int
	interval    time.Duration
	untilDirect bool
}

func (a *app) pingCommand() *cobra.Command {
	var o pingOptions
	cmd := &cobra.Command{
		Use: "ping PEER", Short: "how long bytes take to a contact and back, and which way", Args: exactArgs(1),
		Long: "Ping sends bytes to a contact and waits for them. The first one makes the session where there is none. With --until-direct it ends as soon as one " +
			"went a direct way, and fails with exit code 16 where none did.",
		Example: "  node ping bob\n  node ping bob --until-direct -c 30",
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.count < 1 || o.interval < 0 {
				return usage(cmd, errors.New("--count must be 1 or more, --interval not below zero"))
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.ping(cmd.Context(), c, args[0], o)
		},
	}
	flags := cmd.Flags()
	flags.IntVarP(&o.count, "count", "c", 4, "how many")
	flags.IntVar(&o.size, "size", 1, "bytes that go there and back, up to 65536")
	flags.DurationVarP(&o.interval, "interval", "i", time.Second, "from the end of one to the next")
	flags.BoolVar(&o.untilDirect, "until-direct", false, "end with the first that went a direct way")
	return cmd
}

func (a *app) ping(ctx context.Context, c *daemon.Client, who string, o pingOptions) error {
	all := pings{Envelope: daemon.Envelope("ping"), Peer: who}
	var last error
	for seq := 1; seq <= o.count && (!o.untilDirect || !all.Direct); seq++ {
		if seq > 1 && !wait(ctx, o.interval) {
			break
		}
		one, err := a.pingOnce(ctx, c, who, o.size)
		if ctx.Err() != nil {
			break
		}
		var told *cli.Error
		if err != nil && !errors.As(err, &told) {
			return err
		}
		// Who does not know the contact, or has no daemon, need not try again.
		if told != nil && (told.Exit == cli.ExitPeerUnknown || told.Exit == cli.ExitNoDaemon || told.Exit == cli.ExitUsage) {
			return told
		}
		one.Seq, one.Error, last = seq, told, err
		all.add(one)
		switch {
		case a.lines:
			if err := a.print(one, nil); err != nil {
				return err
			}
		case !a.json:
			a.printPing(who, one)
		}
	}
	if a.json {
		if err := a.print(all, nil); err != nil {
			return err
		}
	} else if all.Sent > 0 {
		fmt.Fprintf(a.stdout, "%d sent, %d came back, least %s, most %s\n", all.Sent, all.Came, shortly(all.Least), shortly(all.Most))
	}
	return a.pingVerdict(ctx, who, o, &all, last)
}

func (p *pings) add(one pinged) {
	p.Sent++
	p.Pings = append(p.Pings, one)
	if one.Error != nil {
		p.Direct = false
		return
	}
	if p.Came == 0 || one.Echo < p.Least {
		p.Least = one.Echo
	}
	p.Came++
	p.Most = max(p.Most, one.Echo)
	p.Direct = one.Path != nil && one.Path.Kind == ice.Direct
}

func (a *app) pingOnce(ctx context.Context, c *daemon.Client, who string, size int) (pinged, error) {
	ctx, cancel := a.limit(ctx, pingTimeout)
	defer cancel()
	p, err := c.Ping(ctx, daemon.PingRequest{Peer: who, Size: size})
	return pinged{Open: p.Open, Echo: p.Echo, Path: p.Path}, err
}

func (a *app) printPing(who string, one pinged) {
	w := a.painted(a.stdout)
	if one.Error != nil {
		fmt.Fprintf(w, "%d  %s  %s\n", one.Seq, who, one.Error.Error())
		return
	}
	via := "-"
	if one.Path != nil {
		via = "via " + route(w, one.Path, "")
	}
	fmt.Fprintf(w, "%d  %s  %s  opened in %s  %s\n", one.Seq, who, one.Echo.Round(time.Microsecond), shortly(one.Open), via)
}

// pingVerdict is the command's end: an error that was printed already where it is in the object or a line.
func (a *app) pingVerdict(ctx context.Context, who string, o pingOptions, all *pings, last error) error {
	var e *cli.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case all.Came == 0 && errors.As(last, &e):
		if a.json {
			return &cli.Error{Exit: e.Exit}
		}
		return e
	case o.untilDirect && !all.Direct:
		e = cli.Errorf("E_TIMEOUT", "no direct path to %s within %d pings", who, o.count).Hint("node why %s", who)
		if a.json {
			return &cli.Error{Exit: e.Exit}
		}
		return e
	}
	return nil
}

// wait sleeps; false when ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
