package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
)

func (a *app) inboxCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inbox", Short: "offers of files that wait for an answer", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var wait, reason string
	ls := &cobra.Command{
		Use: "ls", Short: "list the offers", Args: noArgs, Example: "  node inbox ls",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.transferList(cmd, (*daemon.Client).Inbox)
		},
	}
	accept := &cobra.Command{
		Use: "accept ID", Short: "take a file", Args: exactArgs(1),
		Example: "  node inbox accept t-7f3k",
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait != "none" && wait != "done" {
				return usage(cmd, fmt.Errorf("--wait is none or done, not %q", wait))
			}
			return a.onTransfer(cmd, func(ctx context.Context, c *daemon.Client) (daemon.Transfer, error) {
				t, err := c.Accept(ctx, args[0])
				if err != nil {
					return t, err
				}
				return a.follow(ctx, c, t, wait)
			})
		},
	}
	accept.Flags().StringVar(&wait, "wait", "none", "stay until: none, done")
	decline := &cobra.Command{
		Use: "decline ID", Short: "refuse a file", Args: exactArgs(1),
		Example: "  node inbox decline t-7f3k --reason 'not now'",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := a.limit(cmd.Context(), quick)
			defer cancel()
			c, err := a.client()
			if err != nil {
				return err
			}
			t, err := c.Decline(ctx, args[0], reason)
			if err != nil {
				return err
			}
			return a.print(t, func(w io.Writer) { fmt.Fprintf(w, "%s  %s  %s\n", t.ID, t.State, t.File) })
		},
	}
	decline.Flags().StringVar(&reason, "reason", "", "what to tell the sender")
	cmd.AddCommand(ls, accept, decline)
	return cmd
}

func (a *app) transfersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "transfers", Short: "files on their way, in both directions", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "ls", Short: "list the transfers", Args: noArgs, Example: "  node transfers ls --json",
			RunE: func(cmd *cobra.Command, _ []string) error {
				return a.transferList(cmd, (*daemon.Client).Transfers)
			},
		},
		&cobra.Command{
			Use: "cancel ID", Short: "end a transfer on both sides", Args: exactArgs(1), Example: "  node transfers cancel t-7f3k",
			RunE: func(cmd *cobra.Command, args []string) error {
				ctx, cancel := a.limit(cmd.Context(), quick)
				defer cancel()
				c, err := a.client()
				if err != nil {
					return err
				}
				t, err := c.Cancel(ctx, args[0])
				if err != nil {
					return err
				}
				return a.print(t, func(w io.Writer) { fmt.Fprintf(w, "%s  %s  %s\n", t.ID, t.State, t.File) })
			},
		},
	)
	return cmd
}

// transferList prints what a call lists.
func (a *app) transferList(cmd *cobra.Command, call func(*daemon.Client, context.Context) (daemon.TransferList, error)) error {
	ctx, cancel := a.limit(cmd.Context(), quick)
	defer cancel()
	c, err := a.client()
	if err != nil {
		return err
	}
	list, err := call(c, ctx)
	if err != nil {
		return err
	}
	return a.print(list, func(w io.Writer) { printTransfers(w, list.Transfers) })
}

// onTransfer runs a call and prints the transfer as it is then.
func (a *app) onTransfer(cmd *cobra.Command, call func(context.Context, *daemon.Client) (daemon.Transfer, error)) error {
	ctx, cancel := a.limit(cmd.Context(), 0)
	defer cancel()
	c, err := a.client()
	if err != nil {
		return err
	}
	t, err := call(ctx, c)
	if err != nil {
		return err
	}
	return a.outcome(t)
}

func printTransfers(w io.Writer, list []daemon.Transfer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, t := range list {
		via := "-"
		if t.Path != nil {
			via = fmt.Sprintf("%s %s %s", t.Path.Kind, t.Path.Via, t.Path.Reason)
		}
		why := ""
		if t.Error != nil {
			why = t.Error.Error()
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s of %s\t%s\t%s\t%s\n", t.ID, t.Direction, t.State, t.Peer.Name, size(t.Bytes), size(t.Size), via, t.File, why)
	}
	tw.Flush()
}
