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

func (a *app) sendCommand() *cobra.Command {
	var wait string
	cmd := &cobra.Command{
		Use: "send FILE PEER", Short: "send a file to a contact", Args: exactArgs(2),
		Long: `Send offers the file to the contact and stays attached until the state that --wait names.
Detaching (Ctrl-C) leaves the transfer running in the daemon.`,
		Example: "  node send report.pdf phone\n  node send video.mkv phone --wait none\n  node send FILE phone --wait done --json --timeout 1h",
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait != "none" && wait != "accept" && wait != "done" {
				return usage(cmd, fmt.Errorf("--wait is none, accept or done, not %q", wait))
			}
			path, err := filepath.Abs(args[0])
			if err != nil {
				return cli.Errorf("E_LOCAL_IO", "cannot find the current folder").Because(err)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, cancel := a.limit(cmd.Context(), 0)
			defer cancel()
			t, err := c.Send(ctx, path, args[1])
			if err == nil {
				t, err = a.follow(ctx, c, t, wait)
			}
			if err != nil {
				return err
			}
			return a.outcome(t)
		},
	}
	cmd.Flags().StringVar(&wait, "wait", "done", "stay until: none, accept (the other side took it), done")
	return cmd
}

// follow watches a transfer until the state that wait names, showing progress on a terminal.
func (a *app) follow(ctx context.Context, c *daemon.Client, t daemon.Transfer, wait string) (daemon.Transfer, error) {
	show := a.progress()
	defer show.end()
	for {
		show.line(t)
		accepted := t.State == daemon.StateSending || t.State == daemon.StateReceiving || t.State == daemon.StateVerifying
		if t.State.Ended() || wait == "none" || wait == "accept" && accepted {
			return t, nil
		}
		next, err := c.Transfer(ctx, t.ID, t.State, show.every)
		if err != nil {
			if ctx.Err() != nil {
				return t, gaveUp(ctx, t)
			}
			return t, err
		}
		t = next
	}
}

// gaveUp tells a user who detached, or whose --timeout ran out, that the transfer goes on.
func gaveUp(ctx context.Context, t daemon.Transfer) error {
	hint := "the transfer goes on; see `node status`, or end it: node transfers cancel " + t.ID
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return cli.Errorf("E_TIMEOUT", "the transfer is %s after the time given", t.State).Hint("%s", hint)
	}
	return cli.Errorf("E_INTERRUPTED", "detached while %s", t.State).Hint("%s", hint)
}

// outcome prints a transfer; one that ended badly is an error too.
func (a *app) outcome(t daemon.Transfer) error {
	switch {
	case t.Error != nil && !a.json:
		return t.Error
	case t.Error != nil:
		// The transfer has the error inside, where the bare object of an error has it too.
		return errors.Join(a.print(t, nil), &cli.Error{Exit: t.Error.Exit})
	}
	return a.print(t, func(w io.Writer) {
		via := ""
		if t.Path != nil {
			via = fmt.Sprintf(", %s %s (%s)", t.Path.Kind, t.Path.Via, t.Path.Reason)
		}
		fmt.Fprintf(w, "%s  %s  %s  %s of %s%s\n", t.ID, t.State, t.File, size(t.Bytes), size(t.Size), via)
	})
}
