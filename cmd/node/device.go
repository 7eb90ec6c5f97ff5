package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

func (a *app) deviceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "device", Short: "the devices of this account", Args: noArgs,
		Long: `Several devices can be one contact to others: an account. The device that links the first other makes the account's key and signs the list of its devices;
it has to be up once in three days or so, else the others' time runs out after seven. "node id export" there makes a copy of the key.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.deviceLinkCommand(),
		&cobra.Command{
			Use: "ls", Short: "list the devices of the account, and how it stands with each", Args: noArgs, Example: "  node device ls --json",
			Long: `Ls lists the account's devices: whether this one is connected with it, or when it last was, and the ids of those that were taken off. Others may be up without being connected: "node ping me:NAME" finds out.
Without a running node it tells what the home has.`,
			RunE: func(cmd *cobra.Command, _ []string) error {
				list, err := a.devices(cmd)
				if err != nil {
					return err
				}
				return a.print(list, func(w io.Writer) {
					if list.Account != "" {
						fmt.Fprintf(w, "account %s, list %d, until %s\n", list.Account, list.Version, list.Expires.Local().Format(time.DateTime))
					}
					printDevices(w, list.Devices)
					for _, id := range list.Revoked {
						fmt.Fprintf(w, "%s  revoked\n", id)
					}
				})
			},
		},
		&cobra.Command{
			Use: "rename NAME NEW", Short: "call a device of the account something else, here and at its contacts", Args: exactArgs(2),
			Example: "  node device rename phone old-phone",
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.ask(cmd, quick, func(ctx context.Context, c *daemon.Client) error {
					o, err := c.RenameDevice(ctx, args[0], args[1])
					if err != nil {
						return err
					}
					return a.print(o, func(w io.Writer) { fmt.Fprintf(w, "%s  %s  renamed\n", o.Name, o.ID) })
				})
			},
		},
		&cobra.Command{
			Use: "revoke NAME", Aliases: []string{"rm"}, Short: "take a device off the account, by name or id: contacts refuse it from then on", Args: exactArgs(1),
			Long: `Revoke signs a list without the device. Contacts and the account's devices that are connected get it at once, others when they meet one of the account's devices; until
then, for seven days at most, they know the old list. Sessions with the device end with AUTH_REVOKED.`,
			Example: "  node device revoke phone",
			RunE: func(cmd *cobra.Command, args []string) error {
				if err := a.confirm(cmd.Context(), fmt.Sprintf("Take %s off the account for good?", args[0])); err != nil {
					return err
				}
				return a.ask(cmd, quick, func(ctx context.Context, c *daemon.Client) error {
					o, err := c.RevokeDevice(ctx, args[0])
					if err != nil {
						return err
					}
					return a.print(o, func(w io.Writer) { fmt.Fprintf(w, "%s  %s  revoked\n", o.Name, o.ID) })
				})
			},
		},
	)
	return cmd
}

func (a *app) deviceLinkCommand() *cobra.Command {
	req := daemon.InviteRequest{Device: true}
	var code bool
	cmd := &cobra.Command{
		Use: "link", Short: "make a ticket with which another device joins this account", Args: noArgs,
		Long: `Link prints a ticket. The device that runs "node join" with it, once and before it expires, becomes one of this account's, and learns the
account's contacts. Contacts need nothing: they learn of it from this device.`,
		Example: "  node device link\n  node device link --name phone --qr",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.ticket(cmd, req, code) },
	}
	cmd.Flags().StringVar(&req.Name, "name", "", "what the device is to be called (default: what it calls itself)")
	a.ticketFlags(cmd, &req, &code)
	return cmd
}

func printDevices(w io.Writer, list []daemon.DeviceEntry) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, d := range list {
		marks := ""
		if d.Self {
			marks += "this device"
		}
		if d.Signer {
			marks += ", signs"
		}
		if !d.Self && d.Presence != (daemon.Presence{}) { // of a list that says so
			marks = presenceText(d.Presence)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", d.Name, d.ID, marks)
	}
	tw.Flush()
}

// devices asks the node, and reads the home where none runs.
func (a *app) devices(cmd *cobra.Command) (list daemon.DeviceList, err error) {
	h, err := a.place()
	if err != nil {
		return list, err
	}
	err = a.ask(cmd, quick, func(ctx context.Context, c *daemon.Client) error {
		list, err = c.Devices(ctx)
		return err
	})
	if told := (*cli.Error)(nil); errors.As(err, &told) && told.Code == "E_NO_DAEMON" {
		return daemon.ListDevices(h)
	}
	return list, err
}
