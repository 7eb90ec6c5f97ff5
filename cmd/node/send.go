package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"traverse.internal/config"
	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

func (a *app) sendCommand() *cobra.Command {
	var wait string
	var detach bool
	var rate string
	var opt daemon.SendOptions
	cmd := &cobra.Command{
		Use: "send PATH... PEER", Short: "send files and folders to a contact",
		Long: `Send offers the files and folders to the contact as one transfer and stays attached until the state that --wait names.
Detaching (Ctrl-C, or --detach) leaves the transfer to the daemon; on a terminal a second Ctrl-C within two seconds cancels it.
The transfer outlives the daemon and the connection: what has arrived is not sent again. A contact that is not there now gets it
when it comes back.`,
		Example: "  node send report.pdf phone\n  node send photos notes.txt phone --detach\n  node send FILE phone --wait done --json --timeout 1h",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return exactArgs(2)(cmd, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if detach {
				wait = "none"
			}
			if wait != "none" && wait != "accept" && wait != "done" {
				return usage(cmd, fmt.Errorf("--wait is none, accept or done, not %q", wait))
			}
			paths := args[:len(args)-1]
			for i, p := range paths {
				abs, err := filepath.Abs(p)
				if err != nil {
					return cli.Errorf("E_LOCAL_IO", "cannot find the current folder").Because(err)
				}
				if p == "" {
					return cli.Errorf("E_LOCAL_IO", "the file cannot be sent").Because(errors.New("its name is empty")).Hint("check the path")
				}
				paths[i] = abs
			}
			if rate != "" {
				bytes, err := config.ParseSize(strings.TrimSuffix(rate, "/s"))
				if err != nil {
					return usage(cmd, fmt.Errorf("--limit: %w", err))
				}
				opt.Rate = int64(bytes)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, cancel := a.limit(cmd.Context(), 0)
			defer cancel()
			t, err := c.SendWith(ctx, opt, args[len(args)-1], paths...)
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
	cmd.Flags().BoolVar(&detach, "detach", false, "leave the transfer to the daemon at once (--wait none)")
	cmd.Flags().StringVar(&rate, "limit", "", "send no more than so much per second, 10MiB/s for example; at least 16KiB/s")
	cmd.Flags().DurationVar(&opt.Expires, "expires", 0, "give up when nobody has taken it in this time [720h]")
	cmd.Flags().StringVar(&opt.As, "as", "", "offer the one file or folder under this name")
	cmd.Flags().StringVar(&opt.Note, "note", "", "a line to whoever is asked whether to take it")
	cmd.Flags().StringVar(&opt.Priority, "priority", "normal", "low, normal or high: which of the transfers that wait for others goes first")
	cmd.Flags().BoolVar(&opt.ReadBack, "verify", false, "the receiver reads what it has stored from its disk again, and compares, before the transfer is done")
	cmd.Flags().StringArrayVar(&opt.Exclude, "exclude", nil, "leave out what has this name, or path below the folder named; * and ? match; may be repeated")
	return cmd
}

// follow watches a transfer until the state that wait names, showing progress on a terminal. One that could not be offered yet, because
// the peer cannot be reached, is not waited for: the daemon has it, and the error says how it stands.
func (a *app) follow(ctx context.Context, c *daemon.Client, t daemon.Transfer, wait string) (daemon.Transfer, error) {
	show := a.progress()
	defer show.end()
	for {
		show.line(t)
		accepted := t.State == daemon.StateSending || t.State == daemon.StateReceiving || t.State == daemon.StateVerifying
		unreachable := t.State == daemon.StateQueued && t.Error != nil && t.Runs == 0
		if t.State.Ended() || wait == "none" || wait == "accept" && accepted || unreachable {
			return t, nil
		}
		next, err := c.Transfer(ctx, t.ID, t.State, show.every)
		if err != nil {
			if ctx.Err() != nil {
				return t, a.gaveUp(ctx, c, t)
			}
			return t, err
		}
		t = next
	}
}

// secondChance is how long a person at a terminal has to cancel instead of detach.
const secondChance = 2 * time.Second

// gaveUp tells a user who detached, or whose --timeout ran out, that the transfer goes on; or cancels it, when they ask twice.
func (a *app) gaveUp(ctx context.Context, c *daemon.Client, t daemon.Transfer) error {
	hint := "the transfer goes on; see `node transfers watch " + t.ID + "`, or end it: node transfers cancel " + t.ID
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return cli.Errorf("E_TIMEOUT", "the transfer is %s after the time given", t.State).Hint("%s", hint)
	}
	if f, ok := a.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) && a.askedTwice() {
		quickly, cancel := context.WithTimeout(context.Background(), quick)
		defer cancel()
		if _, err := c.Cancel(quickly, t.ID); err != nil {
			return err
		}
		return cli.Errorf("E_INTERRUPTED", "cancelled while %s", t.State).Hint("take it up again: node transfers retry %s", t.ID)
	}
	return cli.Errorf("E_INTERRUPTED", "detached while %s", t.State).Hint("%s", hint)
}

// askedTwice waits for a second Ctrl-C.
func (a *app) askedTwice() bool {
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt)
	defer signal.Stop(again)
	fmt.Fprintln(a.stderr, "\ndetaching; Ctrl-C again cancels the transfer")
	t := time.NewTimer(secondChance)
	defer t.Stop()
	select {
	case <-again:
		return true
	case <-t.C:
		return false
	}
}

// outcome prints a transfer; one that ended badly, or is stuck, is an error too.
func (a *app) outcome(t daemon.Transfer) error {
	switch {
	case t.Error != nil && !a.json:
		if t.State == daemon.StateQueued {
			return t.Error.Hint("it stays queued as %s and goes when the peer is there; end it: node transfers cancel %s", t.ID, t.ID)
		}
		return t.Error
	case t.Error != nil:
		// The transfer has the error inside, where the bare object of an error has it too.
		return errors.Join(a.print(t, nil), &cli.Error{Exit: t.Error.Exit})
	}
	return a.print(t, func(w io.Writer) {
		via := leftOut(t)
		if t.Path != nil {
			via += fmt.Sprintf(", %s %s (%s)", t.Path.Kind, t.Path.Via, t.Path.Reason)
		}
		fmt.Fprintf(w, "%s  %s  %s  %s of %s%s\n", t.ID, t.State, what(t), cli.Size(t.Bytes), cli.Size(t.Size), via)
	})
}

// leftOut says what the receiver has not taken.
func leftOut(t daemon.Transfer) string {
	if t.UnwantedFiles == 0 {
		return ""
	}
	return fmt.Sprintf(", %d files of %s not taken", t.UnwantedFiles, cli.Size(t.UnwantedBytes))
}

// what is the first of what is sent, and how much more there is.
func what(t daemon.Transfer) string {
	if t.Entries > 1 {
		return fmt.Sprintf("%s (%d files)", t.File, t.Files)
	}
	return t.File
}
