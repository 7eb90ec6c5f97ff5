package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

// leastLook is how often at most the status is looked at.
const leastLook = 200 * time.Millisecond

// watchStatus shows the status again and again until it is interrupted, the time of --timeout is over, or the node ends: in place on a terminal, elsewhere whenever it differs. With JSON that
// is one object each time.
func (a *app) watchStatus(ctx context.Context, c *daemon.Client, every time.Duration) error {
	terminal := isTerminal(a.stdout) && !a.json
	last := ""
	for first := true; ; first = false {
		s, err := a.askStatus(ctx, c)
		var e *cli.Error
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &e) && e.Code == "E_NO_DAEMON" && !first:
			return cli.Errorf("E_NO_DAEMON", "the node ended").Hint("start it again: node up")
		case err != nil:
			return err
		}
		var text bytes.Buffer
		w := io.Writer(&text)
		if _, on := a.painted(a.stdout).(cli.Painted); on {
			w = cli.Painted{Writer: &text}
		}
		printStatus(w, s)
		switch shown := text.String(); {
		case terminal:
			fmt.Fprintf(a.stdout, "\x1b[H\x1b[2J%s", shown)
		case shown == last:
		case a.json:
			if err := a.print(s, nil); err != nil {
				return err
			}
		default:
			if !first {
				shown = "\n" + shown
			}
			if _, err := io.WriteString(a.stdout, shown); err != nil {
				return err
			}
		}
		last = text.String()
		wait(ctx, max(every, leastLook))
	}
}

// askStatus asks once, and does not wait for a node that has stopped answering.
func (a *app) askStatus(ctx context.Context, c *daemon.Client) (daemon.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	return c.Status(ctx)
}
