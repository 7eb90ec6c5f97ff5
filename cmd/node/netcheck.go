package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
)

// netcheckTimeout bounds a check: 4 relays of two families that answer neither over TCP nor UDP take half a minute.
const netcheckTimeout = time.Minute

func (a *app) netcheckCommand() *cobra.Command {
	var every time.Duration
	cmd := &cobra.Command{
		Use: "netcheck", Short: "what this network does to paths: NAT, port mapping, DHT, relays", Args: noArgs,
		Long: "Netcheck asks the node's relays how they see it, by family and transport. What a NAT lets in can be told only where a relay has a second address " +
			"(turnd.other_udp, RFC 5780); how it maps, there or with two relays.\nWith --every it goes on until it is interrupted, and prints what is another than it was: with --json the whole check first, then " +
			"an object a line of kind netcheck_changes. A node that ends meanwhile is a change, too.",
		Example: "  node netcheck\n  node netcheck --json\n  node netcheck --every 1m",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("every") {
				return a.netcheckEvery(cmd, every)
			}
			return a.ask(cmd, netcheckTimeout, func(ctx context.Context, c *daemon.Client) error {
				n, err := c.Netcheck(ctx)
				if err != nil {
					return err
				}
				say := a.advice(cmd)
				for i := range n.Warnings {
					n.Warnings[i].Try = say(n.Warnings[i].Try)
				}
				return a.print(n, func(w io.Writer) { printNetcheck(w, n) })
			})
		},
	}
	cmd.Flags().DurationVar(&every, "every", 0, "check again after so long, 1s at least, and print what has changed")
	return cmd
}

func printNetcheck(w io.Writer, n daemon.Netcheck) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, u := range n.UDP {
		fmt.Fprintf(tw, "UDP %s\tmapping %s\tfiltering %s\tseen as %s\t%d answers\n", u.Family, u.Mapping, u.Filtering, orDash(u.Mapped), u.Answered)
	}
	tw.Flush()
	switch {
	case !n.TCP.Known:
		fmt.Fprintf(w, "TCP       not known: %s\n", n.TCP.Error)
	case n.TCP.Filtered:
		fmt.Fprintln(w, "TCP       leaves only to some ports")
	case n.TCP.Symmetric:
		fmt.Fprintln(w, "TCP       the NAT maps every destination anew")
	default:
		fmt.Fprintln(w, "TCP       nothing stands in the way")
	}
	fmt.Fprintf(w, "Mapping   %s, %s %s %s\n", n.PortMapping.State, n.PortMapping.How, n.PortMapping.Outside, n.PortMapping.Error)
	for _, p := range n.PortMapping.Ports {
		fmt.Fprintf(w, "  %s %s for %s, port %d: %s\n", p.Family, p.Protocol, p.For, p.Port, orDash(strings.TrimSpace(strings.Join([]string{p.Outside, viaText(p.How), p.Error}, " "))))
	}
	fmt.Fprintf(w, "DHT       %s on %s, %d nodes\n", n.DHT.Mode, n.DHT.Listen, n.DHT.Nodes)
	tw = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range n.Relays {
		fmt.Fprintf(tw, "Relay\t%s\t%s\ttcp %s\tudp %s\t%s\n", r.URL, orDash(r.Address), shortly(r.SetUp), shortly(r.RTT), r.Error)
	}
	tw.Flush()
	printPush(w, n.Push, "Push      ")
	for _, warning := range n.Warnings {
		fmt.Fprintf(w, "Warning   %s\n  try: %s\n", warning.What, warning.Try)
	}
}

// viaText names the protocol that mapped a port.
func viaText(how string) string {
	if how == "none" {
		return ""
	}
	return "by " + how
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
