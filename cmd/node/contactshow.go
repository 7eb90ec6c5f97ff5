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

func (a *app) contactShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "all that is known of one contact, and what it may do", Args: exactArgs(1),
		Long: `Show lists the contact's account and each of its devices: whether somebody has looked at it (contact trust), how it stands with it now or when it was last connected,
and by which way. Without a running node it tells what the home has.`,
		Example: "  node contact show phone",
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := a.place()
			if err != nil {
				return err
			}
			ctx, cancel := a.limit(cmd.Context(), quick)
			defer cancel()
			c, err := daemon.ShowContact(ctx, h, args[0])
			if err != nil {
				return err
			}
			return a.print(c, func(w io.Writer) { printContact(w, c) })
		},
	}
}

func (a *app) contactTrustCommand() *cobra.Command {
	return &cobra.Command{
		Use: "trust NAME [DEVICE_ID...]", Short: "say that a contact's devices were looked at", Args: minArgs(1),
		Long: `A contact is taken at its word the first time: its devices are those that its ticket, or whoever gave you its id, said, and later those that its account lists. Trust notes that you have compared them:
all of them, one as NAME:DEVICE, or those with the ids that stand behind the name, which have to be the contact's (else 10). On a terminal it shows the ids and asks. From then on a device that the account
adds is marked as new in "contact show" and warned of in "status", and with "contact set NAME new-devices=hold" it gets no answer until it is trusted. Trust is this device's own, and not told to others.`,
		Example: "  node contact trust bob\n  node contact trust bob:desk\n  node contact trust bob VPMHC3A-… # the id that `node id` printed there",
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := a.place()
			if err != nil {
				return err
			}
			ctx, cancel := a.limit(cmd.Context(), 0)
			defer cancel()
			if len(args) == 1 {
				c, err := daemon.ShowContact(ctx, h, args[0])
				if err != nil {
					return err
				}
				for _, d := range c.Each {
					fmt.Fprintf(a.stderr, "%s  %s  %s\n", d.Name, d.Device, d.Trust)
				}
				if err := a.confirm(ctx, "Are these the ids that `node id` prints there?"); err != nil {
					return err
				}
			}
			c, err := daemon.TrustContact(ctx, h, args[0], args[1:])
			if err != nil {
				return err
			}
			return a.print(c, func(w io.Writer) { printContact(w, c) })
		},
	}
}

func printContact(w io.Writer, c daemon.ContactDetail) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "name\t%s\n", c.Name)
	if c.Account != "" {
		fmt.Fprintf(tw, "account\t%s\nlist\tversion %d, until %s\n", c.Account, c.Version, c.Expires.Local().Format(time.DateTime))
	}
	if policy := policyText(c.Policy); policy != "" {
		fmt.Fprintf(tw, "policy\t%s\n", policy)
	}
	if len(c.Services) > 0 {
		fmt.Fprintf(tw, "may reach\t%s\n", strings.Join(c.Services, ", "))
	}
	tw.Flush()
	tw = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, d := range c.Each {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", d.Name, d.Device, d.Trust, presenceText(d.Presence))
	}
	tw.Flush()
}

// presenceText says how it stands with a device.
func presenceText(p daemon.Presence) string {
	switch {
	case p.Path != nil:
		return fmt.Sprintf("%s, %s %s", p.State, p.Path.Kind, p.Path.Via)
	case p.LastSeen != nil:
		return strings.TrimPrefix(p.State+", ", "idle, ") + "last seen " + p.LastSeen.Local().Format(time.DateTime)
	case p.State == "" || p.State == "idle":
		return "never seen"
	}
	return p.State
}
