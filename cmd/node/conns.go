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
	var wide bool
	cmd := &cobra.Command{
		Use: "conns", Short: "the sessions with peers: path, round trip, bytes", Args: noArgs, Example: "  node conns\n  node conns --wide",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd, quick, func(ctx context.Context, c *daemon.Client) error {
				list, err := c.Sessions(ctx)
				if err != nil {
					return err
				}
				return a.print(list, func(w io.Writer) { printSessions(w, list.Sessions, wide) })
			})
		},
	}
	cmd.Flags().BoolVar(&wide, "wide", false, "addresses, device, kept and unread bytes, links lost, and who seals the records, too")
	return cmd
}

func printSessions(w io.Writer, list []daemon.Session, wide bool) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range list {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\trtt %s\tin %s out %s\tqueued %s\t%d channels\tsince %s", s.Peer.Name, s.ID, paintState(w, s.State), route(w, s.Path, "-"), roundTrip(s.RTT),
			cli.Size(s.BytesIn), cli.Size(s.BytesOut), cli.Size(int64(s.Queued)), s.Channels, s.Since.Local().Format("15:04:05"))
		if wide {
			local, remote, who := "-", "-", "answered"
			if s.Path != nil {
				local, remote = orDash(s.Path.Local), orDash(s.Path.Remote)
			}
			if s.Offerer {
				who = "called"
			}
			fmt.Fprintf(tw, "\t%s -> %s\t%s\tretained %s\tunread %s\tresent %s\tlinks lost %d\ttls %s\tsendfile %s copied %s\t%s", local, remote, who, cli.Size(int64(s.Retained)), cli.Size(int64(s.Unread)),
				cli.Size(s.Resent), s.Links, s.TLS, cli.Size(s.Sendfile), cli.Size(s.Copied), s.Peer.Device)
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
}

func (a *app) channelsCommand() *cobra.Command {
	var wide bool
	cmd := &cobra.Command{
		Use: "channels [PEER]", Short: "the open channels: bytes, window, round trip, queue", Args: rangeArgs(0, 1),
		Example: "  node channels\n  node channels bob --json\n  node channels --wide",
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
				return a.print(list, func(w io.Writer) { printChannels(w, list.Channels, wide) })
			})
		},
	}
	cmd.Flags().BoolVar(&wide, "wide", false, "the session, when it was opened, which directions have ended, and the device, too")
	return cmd
}

func printChannels(w io.Writer, list []daemon.Channel, wide bool) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, ch := range list {
		way := "out"
		if ch.Inbound {
			way = "in"
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\tin %s out %s\twindow %s\tunread %s\tqueued %s\trtt %s", ch.Peer.Name, ch.ID, way, ch.Name,
			cli.Size(ch.BytesIn), cli.Size(ch.BytesOut), cli.Size(int64(ch.Window)), cli.Size(int64(ch.Unread)), cli.Size(int64(ch.Queued)), roundTrip(ch.RTT))
		if wide {
			ended := "open"
			switch {
			case ch.EndIn && ch.EndOut:
				ended = "ended"
			case ch.EndIn:
				ended = "ended in"
			case ch.EndOut:
				ended = "ended out"
			}
			fmt.Fprintf(tw, "\t%s\tsession %s\tsince %s\t%s", ended, ch.Session, ch.Opened.Local().Format("15:04:05"), ch.Peer.Device)
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
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
