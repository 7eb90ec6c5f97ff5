package main

import (
	"context"
	"errors"
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
	var wait, reason string
	var req daemon.AcceptRequest
	var rename, overwrite, skip bool
	ls := &cobra.Command{
		Use: "ls", Short: "list the offers", Args: noArgs, Example: "  node inbox ls",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.transferList(cmd, (*daemon.Client).Inbox)
		},
	}
	accept := &cobra.Command{
		Use: "accept ID", Short: "take a file", Args: exactArgs(1),
		Long: `Accept takes what is offered, all of it or what --only chooses: entries of that name, or path, and what is in a folder that matches. The sender is told what is left with it.
A name that is taken is not replaced: what comes gets another, "name (1)". With --overwrite it takes the place of the file, and a folder is put into the one that is there;
with --skip what is there stays, and is not sent again.`,
		Example: "  node inbox accept t-7f3k\n  node inbox accept t-7f3k --only '*.jpg' --only notes --to pictures\n  node inbox accept t-7f3k --overwrite --wait done",
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait != "none" && wait != "done" {
				return usage(cmd, fmt.Errorf("--wait is none or done, not %q", wait))
			}
			if rename && (overwrite || skip) || overwrite && skip {
				return usage(cmd, errors.New("--rename, --overwrite and --skip exclude each other"))
			}
			for word, is := range map[string]bool{"overwrite": overwrite, "skip": skip} {
				if is {
					req.Existing = word
				}
			}
			return a.onTransfer(cmd, func(ctx context.Context, c *daemon.Client) (daemon.Transfer, error) {
				if req.To != "" {
					abs, err := filepath.Abs(req.To)
					if err != nil {
						return daemon.Transfer{}, cli.Errorf("E_LOCAL_IO", "cannot find the current folder").Because(err)
					}
					req.To = abs
				}
				t, err := c.AcceptWith(ctx, args[0], req)
				if err != nil {
					return t, err
				}
				return a.follow(ctx, c, t, wait)
			})
		},
	}
	accept.Flags().StringVar(&wait, "wait", "none", "stay until: none, done")
	accept.Flags().BoolVar(&rename, "rename", false, "give what has a name that is taken another one (the default)")
	accept.Flags().BoolVar(&overwrite, "overwrite", false, "let it take the place of files that are there")
	accept.Flags().BoolVar(&skip, "skip", false, "leave files that are there as they are, and do not take those")
	accept.Flags().StringArrayVar(&req.Only, "only", nil, "take only what has this name, or path; * and ? match; may be repeated")
	accept.Flags().StringVar(&req.To, "to", "", "store it in this folder, which is made [the folder for downloads]")
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
			return a.ask(cmd, 0, a.watchInbox)
		},
	}
	cmd.AddCommand(ls, show, accept, decline, watch)
	return cmd
}
