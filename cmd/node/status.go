package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
)

func (a *app) statusCommand() *cobra.Command {
	var watch bool
	var every time.Duration
	cmd := &cobra.Command{
		Use: "status", Short: "one look at the running node", Args: noArgs,
		Long: `With --watch it looks again and again until it is interrupted, the node ends, or the time of --timeout is over: in place on a terminal, elsewhere whenever something
differs; with --json that is one object each time.`,
		Example: "  node status\n  node status --json\n  node status --watch",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if watch {
				ctx, cancel := a.limit(cmd.Context(), 0)
				defer cancel()
				return a.watchStatus(ctx, c, every)
			}
			ctx, cancel := a.limit(cmd.Context(), quick)
			defer cancel()
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			return a.print(s, func(w io.Writer) { printStatus(w, s) })
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "look again and again")
	cmd.Flags().DurationVar(&every, "interval", 2*time.Second, "how often to look with --watch; 200ms at least")
	return cmd
}

func printStatus(w io.Writer, s daemon.Status) {
	fmt.Fprintf(w, "%s  %s  up since %s\n", s.Device.Name, s.Device.Device, s.Since.Local().Format("2006-01-02 15:04:05"))
	fmt.Fprintf(w, "DHT     %s on %s, %d nodes\n", s.DHT.Mode, s.DHT.Listen, s.DHT.Nodes)
	fmt.Fprintf(w, "Paths   %s", s.Policy)
	for _, r := range s.Relays {
		fmt.Fprintf(w, ", relay %s", r)
	}
	fmt.Fprintln(w)
	printPush(w, s.Push, "Push    ")
	if len(s.Turnd) > 0 {
		fmt.Fprintf(w, "Relay   %s\n", strings.Join(s.Turnd, ", "))
	}
	if s.Metrics != "" {
		fmt.Fprintf(w, "Metrics http://%s/metrics\n", s.Metrics)
	}
	if dr := s.Draining; dr != nil {
		fmt.Fprintf(w, "Drains  %d transfers to end, until %s\n", dr.Transfers, dr.Until.Local().Format("15:04:05"))
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range s.Peers {
		via := ""
		if p.Path != nil {
			via = fmt.Sprintf("%s, %d channels", route(w, p.Path, ""), p.Channels)
		}
		fmt.Fprintf(tw, "Peer\t%s\t%s\t%s\n", p.Name, paintState(w, p.State), via)
	}
	tw.Flush()
	for _, warning := range s.Warnings {
		fmt.Fprintf(w, "Warning %s\n", warning)
	}
	printTransfers(w, s.Transfers)
}

// printPush prints a line for each relay that requests come from at once, or should.
func printPush(w io.Writer, push []daemon.PushStatus, head string) {
	for _, p := range push {
		switch {
		case p.Up:
			fmt.Fprintf(w, "%sup at %s\n", head, p.Relay)
		case p.Error != "":
			fmt.Fprintf(w, "%snot at %s: %s\n", head, p.Relay, p.Error)
		default:
			fmt.Fprintf(w, "%snot yet at %s\n", head, p.Relay)
		}
	}
}
