package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

func (a *app) connsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "conns", Short: "the sessions with peers: path, round trip, bytes", Args: noArgs, Example: "  node conns",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd, quick, func(ctx context.Context, c *daemon.Client) error {
				list, err := c.Sessions(ctx)
				if err != nil {
					return err
				}
				return a.print(list, func(w io.Writer) {
					tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
					for _, s := range list.Sessions {
						via := "-"
						if s.Path != nil {
							via = fmt.Sprintf("%s %s (%s)", s.Path.Kind, s.Path.Via, s.Path.Reason)
						}
						fmt.Fprintf(tw, "%s\t%s\t%s\t%s\trtt %s\tin %s out %s\tqueued %s\t%d channels\tsince %s\n", s.Peer.Name, s.ID, s.State, via, roundTrip(s.RTT),
							cli.Size(s.BytesIn), cli.Size(s.BytesOut), cli.Size(int64(s.Queued)), s.Channels, s.Since.Local().Format("15:04:05"))
					}
					tw.Flush()
				})
			})
		},
	}
}

func (a *app) channelsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "channels [PEER]", Short: "the open channels: bytes, window, round trip, queue", Args: rangeArgs(0, 1),
		Example: "  node channels\n  node channels bob --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			who := ""
			if len(args) == 1 {
				who = args[0]
			}
			return a.ask(cmd, quick, func(ctx context.Context, c *daemon.Client) error {
				list, err := c.Channels(ctx, who)
				if err != nil {
					return err
				}
				return a.print(list, func(w io.Writer) {
					tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
					for _, ch := range list.Channels {
						way := "out"
						if ch.Inbound {
							way = "in"
						}
						fmt.Fprintf(tw, "%s\t%d\t%s\t%s\tin %s out %s\twindow %s\tunread %s\tqueued %s\trtt %s\n", ch.Peer.Name, ch.ID, way, ch.Name,
							cli.Size(ch.BytesIn), cli.Size(ch.BytesOut), cli.Size(int64(ch.Window)), cli.Size(int64(ch.Unread)), cli.Size(int64(ch.Queued)), roundTrip(ch.RTT))
					}
					tw.Flush()
				})
			})
		},
	}
}

func (a *app) kickCommand() *cobra.Command {
	return &cobra.Command{
		Use: "kick PEER", Short: "end the sessions with a contact, and all on them", Args: exactArgs(1),
		Long:    "Kick closes the connections with a contact. What asks for it later connects anew; to keep a contact away: node contact block NAME.",
		Example: "  node kick bob",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(cmd, quick, func(ctx context.Context, c *daemon.Client) error {
				k, err := c.Kick(ctx, args[0])
				if err != nil {
					return err
				}
				return a.print(k, func(w io.Writer) { fmt.Fprintf(w, "%s: %d sessions ended\n", k.Peer.Name, k.Sessions) })
			})
		},
	}
}

func roundTrip(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return d.Round(10 * time.Microsecond).String()
}
