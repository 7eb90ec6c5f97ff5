package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
)

// quick bounds commands that only ask the daemon something.
const quick = 10 * time.Second

func (a *app) contactCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "contact", Short: "the devices this one knows", Args: noArgs,
		Long: "Contacts are the devices this one talks to. Both sides must know each other: strangers get no answer at all.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "add NAME DEVICE_ID", Short: "know a device under a name", Args: exactArgs(2),
			Example: "  node contact add phone VPMHC3A-… # the id that `node id` prints there",
			RunE: func(cmd *cobra.Command, args []string) error {
				h, err := a.place()
				if err != nil {
					return err
				}
				ctx, cancel := a.limit(cmd.Context(), quick)
				defer cancel()
				c, err := daemon.AddContact(ctx, h, args[0], args[1])
				if err != nil {
					return err
				}
				return a.print(c, func(w io.Writer) { fmt.Fprintf(w, "%s is %s\n", c.Name, c.Device) })
			},
		},
		&cobra.Command{
			Use: "ls", Short: "list the contacts", Args: noArgs, Example: "  node contact ls",
			RunE: func(*cobra.Command, []string) error {
				h, err := a.place()
				if err != nil {
					return err
				}
				list, err := daemon.ListContacts(h)
				if err != nil {
					return err
				}
				return a.print(list, func(w io.Writer) {
					tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
					for _, c := range list.Contacts {
						fmt.Fprintf(tw, "%s\t%s\n", c.Name, c.Device)
					}
					tw.Flush()
				})
			},
		},
	)
	return cmd
}
