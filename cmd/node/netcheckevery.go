package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

// leastEvery is how close two checks may be: each asks every relay ten times.
const leastEvery = time.Second

// netcheckEvery checks until the command is interrupted, or --timeout is over: that is its end, and no error. The first check has to work.
func (a *app) netcheckEvery(cmd *cobra.Command, every time.Duration) error {
	if every < leastEvery {
		return usage(cmd, fmt.Errorf("--every %v is below %v", every, leastEvery))
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	ctx, cancel := a.limit(cmd.Context(), 0)
	defer cancel()
	check := func() (daemon.Netcheck, error) {
		once, cancel := context.WithTimeout(ctx, netcheckTimeout)
		defer cancel()
		return c.Netcheck(once)
	}
	last, err := check()
	if err != nil {
		return err
	}
	if err := a.print(last, func(w io.Writer) { printNetcheck(w, last) }); err != nil {
		return err
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	gone := false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			if cmd.Context().Err() == nil {
				return nil // --timeout
			}
			return cmd.Context().Err()
		}
		now, err := check()
		if ctx.Err() != nil {
			continue
		}
		var changes daemon.NetcheckChanges
		switch {
		case err != nil && gone:
			continue
		case err != nil:
			changes = daemon.NetcheckGone(time.Now(), firstCause(err))
		case gone:
			changes = now.Back(last)
		default:
			changes = now.Since(last)
		}
		if gone = err != nil; !gone {
			last = now
		}
		if len(changes.Changes) == 0 {
			continue
		}
		if err := a.print(changes, func(w io.Writer) { printChanges(w, changes) }); err != nil {
			return err
		}
	}
}

// firstCause is an error without what to try.
func firstCause(err error) error {
	var e *cli.Error
	if errors.As(err, &e) {
		return errors.New(e.Message)
	}
	return err
}

func printChanges(w io.Writer, c daemon.NetcheckChanges) {
	for _, one := range c.Changes {
		fmt.Fprintf(w, "%s  %s: %s, was %s\n", c.Time.Local().Format(time.TimeOnly), one.What, orDash(one.To), orDash(one.From))
	}
}
