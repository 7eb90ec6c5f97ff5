package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
)

func (a *app) whyCommand() *cobra.Command {
	var last int
	cmd := &cobra.Command{
		Use: "why PEER", Short: "why the path to a contact is what it is, and what would change it", Args: exactArgs(1),
		Long: "Why shows what happened to the links with a contact: when each came, moved to another path or died, and by what sign. Then the last attempts to " +
			"find a path, by either side: how the request was carried and how long its answer took, every candidate pair with its state and time, the decision, its reason, and what would change it. The node keeps 32 events and " +
			"8 attempts of each device while it is up.",
		Example: "  node why bob\n  node why bob --last 1 --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if last < 0 {
				return usage(cmd, fmt.Errorf("--last %d is below zero", last))
			}
			return a.ask(cmd, quick, func(ctx context.Context, c *daemon.Client) error {
				w, err := c.Why(ctx, args[0], last)
				if err != nil {
					return err
				}
				say := a.advice(cmd)
				for i := range w.Calling {
					w.Calling[i].Change = say(w.Calling[i].Change)
				}
				for i := range w.Attempts {
					w.Attempts[i].Change = say(w.Attempts[i].Change)
				}
				return a.print(w, func(out io.Writer) { printWhy(out, w, say) })
			})
		},
	}
	cmd.Flags().IntVar(&last, "last", 0, "only so many attempts, the newest (0: all that are kept)")
	return cmd
}

func printWhy(w io.Writer, why daemon.Why, say func(string) string) {
	if p := why.Path; p != nil {
		fmt.Fprintf(w, "%s is connected, %s\n", why.Peer.Name, route(w, p, ""))
	} else {
		fmt.Fprintf(w, "%s is not connected\n", why.Peer.Name)
	}
	if len(why.Story) > 0 {
		fmt.Fprintln(w)
	}
	for _, t := range why.Story {
		fmt.Fprintf(w, "%s  %s\n", t.Time.Local().Format("2006-01-02 15:04:05.000"), turnText(t))
	}
	for _, now := range why.Calling {
		fmt.Fprintf(w, "Asked now, without an answer so far: %s\n  try: %s\n", now.Means, now.Change)
	}
	if len(why.Attempts) == 0 && len(why.Calling) == 0 {
		fmt.Fprintf(w, "No attempt since the node is up. Make one: %s%s\n", say("node ping "), why.Peer.Name)
	}
	for _, at := range why.Attempts {
		printAttempt(w, at)
	}
	for _, warning := range why.Warnings {
		fmt.Fprintf(w, "\nWarning %s\n", warning)
	}
}

func printAttempt(w io.Writer, at daemon.WhyAttempt) {
	who := "called from there"
	if at.Called {
		who = "called from here"
	}
	fmt.Fprintf(w, "\n%s  %s, %s after %s", at.Began.Local().Format("2006-01-02 15:04:05"), who, at.Outcome, shortly(at.Took))
	if at.Outcome == "failed" {
		fmt.Fprintf(w, " at the step %s", at.Stage)
	}
	fmt.Fprintf(w, ", policy %s\n", at.Policy)
	if q := at.Asked; q != nil {
		fmt.Fprintf(w, "  asked   %s\n", askedText(*q))
	}
	if at.Path != nil {
		fmt.Fprintf(w, "  path    %s %s, %s to %s\n", at.Path.Kind, at.Path.Via, at.Path.Local, at.Path.Remote)
	}
	if at.Reason != "" {
		fmt.Fprintf(w, "  reason  %s: %s\n  change  %s\n", at.Reason, at.Means, at.Change)
	}
	if at.Error != "" {
		fmt.Fprintf(w, "  error   %s\n", at.Error)
	}
	if at.Relays != "" {
		fmt.Fprintf(w, "  relays  %s\n", at.Relays)
	}
	fmt.Fprintf(w, "  here    %s\n  there   %s\n", networkText(at.Here), networkText(at.There))
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range at.Pairs {
		local := p.Local
		if local == "" {
			local = "-"
		}
		fmt.Fprintf(tw, "  pair\t%s %s\t%s to %s\t%s\t%s\t%d dials\t%s\n", p.Kind, p.Via, local, p.Remote, p.State, shortly(p.After), p.Dials, p.Error)
	}
	tw.Flush()
}

// askedText says by which route the request went and how long it took.
func askedText(q daemon.WhyAsked) string {
	switch {
	case q.Route == "":
		return "no answer within " + shortly(q.Took)
	case q.Took == 0:
		return "by " + routeText(q.Route)
	}
	return fmt.Sprintf("by %s, answered after %s", routeText(q.Route), shortly(q.Took))
}

// routeText is a route of signalling in words.
func routeText(route string) string {
	words := map[string]string{
		"direct": "a datagram straight to the device", "lan": "over the link that both are on", "push": "through the relay of the device that was called",
		"slot": "left in the DHT", "session": "over the session that was there",
	}
	if s, ok := words[route]; ok {
		return fmt.Sprintf("%s (%s)", route, s)
	}
	return route
}

// turnText is one event of the story as a line.
func turnText(t daemon.WhyTurn) string {
	path := "-"
	if p := t.Path; p != nil {
		path = fmt.Sprintf("%s %s", p.Kind, p.Via)
	}
	line := ""
	switch t.What {
	case "began":
		line = fmt.Sprintf("began on %s (%s) after %s", path, t.Path.Reason, shortly(t.Took))
	case "moved":
		line = fmt.Sprintf("moved to %s (%s) after %s", path, t.Path.Reason, shortly(t.Took))
		switch {
		case t.Kept && t.Alive:
			line += ", back on the link that was kept, as the other side asked"
		case t.Kept:
			line += ", back on the link that was kept"
		case t.Alive:
			line += ", while the link before lived"
		}
	case "again":
		line = fmt.Sprintf("has a new link, %s (%s), after %s", path, t.Path.Reason, shortly(t.Took))
	case "died":
		line = path + " died"
	case "ended":
		line = "ended on " + path
	}
	if t.Error != "" {
		line += ": " + t.Error
	}
	return line
}

func networkText(n daemon.WhyNetwork) string {
	text := ""
	if n.Symmetric {
		text += "the NAT maps every destination anew; "
	}
	if n.Filtered {
		text += "TCP leaves only to some ports; "
	}
	if n.NoUDP {
		text += "no UDP leaves; "
	}
	return text + "port mapping " + n.Mapping
}

// shortly is a time to read: to the microsecond below a millisecond, to tenths of a millisecond above.
func shortly(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	if d < time.Millisecond {
		return d.Round(time.Microsecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}
