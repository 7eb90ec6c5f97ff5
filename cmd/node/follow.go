package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"time"

	"golang.org/x/term"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

// follow watches a transfer until the state that wait names, showing progress.
func (a *app) follow(ctx context.Context, c *daemon.Client, t daemon.Transfer, wait string) (daemon.Transfer, error) {
	list, err := a.followAll(ctx, c, []daemon.Transfer{t}, wait)
	return list[0], err
}

// followAll watches transfers until all of them are in the state that wait names, showing progress. One that could not be offered yet, because the peer cannot
// be reached, is not waited for: the daemon has it, and the error says how it stands.
func (a *app) followAll(ctx context.Context, c *daemon.Client, list []daemon.Transfer, wait string) ([]daemon.Transfer, error) {
	show := a.progress()
	defer show.end()
	watched := make([]bool, len(list)) // by `transfers watch`, which says so by a run that was not
	for i, t := range list {
		watched[i] = t.Runs > 0
	}
	for {
		show.show(list...)
		next := slices.IndexFunc(list, func(t daemon.Transfer) bool { return !settled(t, wait) })
		if next < 0 {
			return list, nil
		}
		for i, t := range list {
			if settled(t, wait) {
				continue
			}
			after, patience := daemon.State(""), time.Duration(0)
			if i == next {
				after, patience = t.State, show.every
			}
			now, err := c.Transfer(ctx, t.ID, after, patience)
			if err != nil && ctx.Err() != nil {
				return list, a.gaveUp(ctx, c, list)
			}
			if err != nil {
				return list, err
			}
			if watched[i] {
				now.Runs = max(now.Runs, 1)
			}
			list[i] = now
		}
	}
}

// settled tells whether a transfer is where wait says, or gets there only some other day.
func settled(t daemon.Transfer, wait string) bool {
	accepted := t.State == daemon.StateSending || t.State == daemon.StateReceiving || t.State == daemon.StateVerifying
	unreachable := t.State == daemon.StateQueued && t.Error != nil && t.Runs == 0
	return t.State.Ended() || wait == "none" || wait == "accept" && accepted || unreachable
}

// stuck says why a transfer has not begun: its last error, or how it stands with the device that is asked.
func stuck(c *daemon.Client, t daemon.Transfer, e *cli.Error) {
	if t.Error != nil {
		e.Because(t.Error)
		e.Try = append(e.Try, t.Error.Try...)
		return
	}
	if t.State != daemon.StateConnecting && t.State != daemon.StateQueued {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), quick)
	defer cancel()
	w, err := c.Why(ctx, t.Peer.Name, 1)
	switch {
	case err != nil:
	case len(w.Calling) > 0:
		now := w.Calling[0]
		e.Because(fmt.Errorf("%s does not answer so far: %s", t.Peer.Name, now.Means))
		e.Hint("%s", now.Change)
	case len(w.Attempts) > 0 && w.Attempts[0].Means != "" && w.Attempts[0].Outcome == "failed":
		e.Because(fmt.Errorf("%s: %s", t.Peer.Name, w.Attempts[0].Means))
		e.Hint("%s", w.Attempts[0].Change)
	}
}

// secondChance is how long a person at a terminal has to cancel instead of detach.
const secondChance = 2 * time.Second

// gaveUp tells a user who detached, or whose --timeout ran out, that the transfers go on; or cancels them, when they ask twice.
func (a *app) gaveUp(ctx context.Context, c *daemon.Client, list []daemon.Transfer) error {
	i := max(0, slices.IndexFunc(list, func(t daemon.Transfer) bool { return !t.State.Ended() }))
	t := list[i]
	hint := "the transfer goes on; see `node transfers watch " + t.ID + "`, or end it: node transfers cancel " + t.ID
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		e := cli.Errorf("E_TIMEOUT", "the transfer is %s after the time given", t.State)
		stuck(c, t, e)
		return e.Hint("%s", hint)
	}
	if f, ok := a.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) && a.askedTwice() {
		quickly, cancel := context.WithTimeout(context.Background(), quick)
		defer cancel()
		for _, t := range list {
			if t.State.Ended() {
				continue
			}
			if _, err := c.Cancel(quickly, t.ID); err != nil {
				return err
			}
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

// outcome prints a transfer; one that ended badly, or was never offered, is an error too. One that has been and waits goes on by itself.
func (a *app) outcome(t daemon.Transfer) error {
	waits := t.State == daemon.StateQueued && t.Runs > 0
	switch {
	case waits:
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
			via += ", " + route(w, t.Path, "")
		}
		fmt.Fprintf(w, "%s  %s  %s  %s of %s%s\n", t.ID, paintState(w, phase(t.State, t.Error)), what(t), cli.Size(t.Bytes), cli.Size(t.Size), via)
	})
}

// outcomes prints what became of transfers to several contacts. Where some have ended badly the exit code is 18, and where all have it is the first one's.
func (a *app) outcomes(list []daemon.Transfer) error {
	if len(list) == 1 {
		return a.outcome(list[0])
	}
	failed := 0
	for _, t := range list {
		if t.Error != nil {
			failed++
		}
	}
	err := a.print(daemon.TransferList{Envelope: daemon.Envelope("transfers"), Transfers: list}, func(w io.Writer) { printTransfers(w, list) })
	switch {
	case err != nil || failed == 0:
		return err
	case failed == len(list):
		return &cli.Error{Exit: list[0].Error.Exit} // what went wrong stands in what is printed
	}
	return &cli.Error{Exit: cli.ExitPartial}
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
