package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

func (a *app) transfersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "transfers", Short: "files and folders on their way, in both directions", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.transfersListCommand(),
		a.verifyCommand(),
		&cobra.Command{
			Use: "show ID", Short: "show a transfer, what is in it, and what was sent twice", Args: exactArgs(1), Example: "  node transfers show t-7f3k",
			RunE: func(cmd *cobra.Command, args []string) error { return a.showTransfer(cmd, args[0]) },
		},
		&cobra.Command{
			Use: "watch ID", Short: "follow a transfer to its end", Args: exactArgs(1), Example: "  node transfers watch t-7f3k",
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.onTransfer(cmd, func(ctx context.Context, c *daemon.Client) (daemon.Transfer, error) {
					t, err := c.Transfer(ctx, args[0], "", 0)
					if err != nil {
						return t, err
					}
					t.Runs = max(t.Runs, 1) // who watches wants to wait for a peer that is not there
					return a.follow(ctx, c, t, "done")
				})
			},
		},
		a.changeCommand("cancel", "end a transfer on both sides", (*daemon.Client).Cancel),
		a.changeCommand("pause", "stop a transfer until it is resumed", (*daemon.Client).Pause),
		a.changeCommand("resume", "go on with a transfer that is paused, or try one that is queued now", (*daemon.Client).Resume),
		a.changeCommand("retry", "take up a transfer that failed or was cancelled; what has arrived is not sent again", (*daemon.Client).Retry),
		&cobra.Command{
			Use: "gc", Short: "forget the transfers that have ended, and remove what is left of them", Args: noArgs, Example: "  node transfers gc",
			RunE: func(cmd *cobra.Command, _ []string) error {
				ctx, cancel := a.limit(cmd.Context(), quick)
				defer cancel()
				c, err := a.client()
				if err != nil {
					return err
				}
				o, err := c.Collect(ctx)
				if err != nil {
					return err
				}
				return a.print(o, func(w io.Writer) {
					fmt.Fprintf(w, "forgot %d transfers, removed %d leftovers\n", o.Forgotten, o.Removed)
				})
			},
		},
	)
	return cmd
}

func (a *app) transfersListCommand() *cobra.Command {
	var states []string
	var peer string
	cmd := &cobra.Command{
		Use: "ls", Short: "list the transfers", Args: noArgs, Example: "  node transfers ls --state queued,sending --peer phone\n  node transfers ls --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.transferList(cmd, func(c *daemon.Client, ctx context.Context) (daemon.TransferList, error) {
				list, err := c.Transfers(ctx)
				list.Transfers = slices.DeleteFunc(list.Transfers, func(t daemon.Transfer) bool {
					name, _, _ := strings.Cut(t.Peer.Name, ":")
					return len(states) > 0 && !slices.Contains(states, string(t.State)) || peer != "" && peer != name && peer != t.Peer.Name && peer != t.Peer.Device
				})
				return list, err
			})
		},
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "only those in these states")
	cmd.Flags().StringVar(&peer, "peer", "", "only those with this contact, or this device of it")
	return cmd
}

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify ID", Short: "read the files of a transfer from the disk and compare them with their SHA3-256", Args: exactArgs(1),
		Long: `Verify hashes the files of a transfer that is done, where they were stored or sent from, and compares them with the SHA3-256 that were computed after the
transfer. Files that are another now, or are gone, are listed, and the exit code is 13.`,
		Example: "  node transfers verify t-7f3k",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(cmd, 0, func(ctx context.Context, c *daemon.Client) error {
				v, err := c.Verify(ctx, args[0])
				if err != nil {
					return err
				}
				err = a.print(v, func(w io.Writer) {
					for _, x := range v.Wrong {
						fmt.Fprintf(w, "%s  %q\n", x.What, x.Path)
					}
					fmt.Fprintf(w, "%s  %d files of %s are as they were, %d are not\n", v.ID, v.Files-v.Count, cli.Size(v.Bytes), v.Count)
				})
				if err == nil && v.Count > 0 {
					err = &cli.Error{Exit: 13}
				}
				return err
			})
		},
	}
}

// changeCommand is one that does something to a transfer and prints it.
func (a *app) changeCommand(verb, short string, call func(*daemon.Client, context.Context, string) (daemon.Transfer, error)) *cobra.Command {
	return &cobra.Command{
		Use: verb + " ID", Short: short, Args: exactArgs(1), Example: "  node transfers " + verb + " t-7f3k",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := a.limit(cmd.Context(), quick)
			defer cancel()
			c, err := a.client()
			if err != nil {
				return err
			}
			t, err := call(c, ctx, args[0])
			if err != nil {
				return err
			}
			return a.print(t, func(w io.Writer) { fmt.Fprintf(w, "%s  %s  %s\n", t.ID, paintState(w, string(t.State)), what(t)) })
		},
	}
}

// shownTransfer is what show prints.
type shownTransfer struct {
	daemon.Transfer
	List []daemon.EntryObject `json:"list"` // the first of what is in it, as far as that is known here now
}

// maxListed bounds what show prints for people.
const maxListed = 20

func (a *app) showTransfer(cmd *cobra.Command, id string) error {
	ctx, cancel := a.limit(cmd.Context(), quick)
	defer cancel()
	c, err := a.client()
	if err != nil {
		return err
	}
	t, err := c.Transfer(ctx, id, "", 0)
	if err != nil {
		return err
	}
	list, err := c.Entries(ctx, t.ID)
	if err != nil {
		return err
	}
	return a.print(shownTransfer{t, list.Entries}, func(w io.Writer) { printTransfer(w, t, list) })
}

func printTransfer(w io.Writer, t daemon.Transfer, list daemon.EntryList) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(key, format string, args ...any) { fmt.Fprintf(tw, "%s\t%s\n", key, fmt.Sprintf(format, args...)) }
	row("id", "%s", t.ID)
	if t.Interaction != "" && t.Interaction != t.ID {
		row("interaction", "%s", t.Interaction)
	}
	row("direction", "%s", t.Direction)
	row("state", "%s", paintState(w, string(t.State)))
	if t.PausedBy != "" {
		row("paused by", "%s", t.PausedBy)
	}
	row("peer", "%s", t.Peer.Name)
	row("what", "%s", what(t))
	if t.Note != "" {
		row("note", "%s", t.Note)
	}
	if t.Priority != "" {
		row("priority", "%s", t.Priority)
	}
	row("bytes", "%d of %d (%s of %s)", t.Bytes, t.Size, cli.Size(t.Bytes), cli.Size(t.Size))
	for _, dev := range t.Devices {
		how := string(dev.State)
		if dev.Error != nil {
			how += ": " + dev.Error.Error()
		}
		row(dev.Peer.Name, "%s  %s  %s of %s", dev.ID, how, cli.Size(dev.Bytes), cli.Size(t.Size))
	}
	for _, source := range t.Sources {
		how := cli.Size(source.Bytes)
		if source.Error != nil {
			how += ", " + source.Error.Error()
		}
		row("from "+source.Peer.Name, "%s", how)
	}
	row("re-sent", "%d bytes (%s) in %d runs", t.Resent, cli.Size(t.Resent), t.Runs)
	if t.UnwantedFiles > 0 {
		row("not taken", "%d files of %s", t.UnwantedFiles, cli.Size(t.UnwantedBytes))
	}
	if t.Skipped > 0 {
		row("left out", "%d that are no files, folders or links that stay inside", t.Skipped)
	}
	if t.Path != nil {
		row("path", "%s", route(w, t.Path, ""))
	}
	if t.RetryAt != nil {
		row("next try", "in %s", max(0, time.Until(*t.RetryAt)).Round(time.Second))
	}
	if t.Digest != "" {
		row("digest", "k12-256-chunks %s", t.Digest)
	}
	if t.SHA3 != "" {
		row("sha3-256", "%s", t.SHA3)
	}
	if t.Error != nil {
		row("error", "%s", t.Error.Error())
	}
	tw.Flush()
	for _, e := range list.Entries[:min(len(list.Entries), maxListed)] {
		fmt.Fprintf(tw, "  %s\t%s\t%q\n", e.Kind, cli.Size(e.Size), e.Path)
	}
	tw.Flush()
	if more := list.Total - maxListed; more > 0 && len(list.Entries) > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
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
		via := "-" + paintReason(w, "")
		if t.Path != nil {
			via = fmt.Sprintf("%s %s %s", t.Path.Kind, t.Path.Via, paintReason(w, t.Path.Reason))
		}
		why := ""
		if t.Error != nil {
			why = t.Error.Error()
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s of %s\t%s\t%s\t%s\n", t.ID, t.Direction, paintState(w, string(t.State)), t.Peer.Name, cli.Size(t.Bytes), cli.Size(t.Size), via, what(t), why)
	}
	tw.Flush()
}
