package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

func (a *app) inboxCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inbox", Short: "offers of files that wait for an answer", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var wait, reason, to string
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
				if to != "" {
					abs, err := filepath.Abs(to)
					if err != nil {
						return daemon.Transfer{}, cli.Errorf("E_LOCAL_IO", "cannot find the current folder").Because(err)
					}
					to = abs
				}
				t, err := c.AcceptTo(ctx, args[0], to)
				if err != nil {
					return t, err
				}
				return a.follow(ctx, c, t, wait)
			})
		},
	}
	accept.Flags().StringVar(&wait, "wait", "none", "stay until: none, done")
	accept.Flags().StringVar(&to, "to", "", "store it in this folder, which is made [the folder for downloads]")
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
	show := &cobra.Command{
		Use: "show ID", Short: "show an offer and what is in it", Args: exactArgs(1), Example: "  node inbox show t-7f3k",
		RunE: func(cmd *cobra.Command, args []string) error { return a.showTransfer(cmd, args[0]) },
	}
	watch := &cobra.Command{
		Use: "watch", Short: "print offers as they come", Args: noArgs, Example: "  node inbox watch --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.watchTransfers(cmd, func(t daemon.Transfer) bool { return t.Direction == "receive" && t.State == daemon.StateOffered })
		},
	}
	cmd.AddCommand(ls, show, accept, decline, watch)
	return cmd
}
