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

// drainLook is how often drain looks whether the node has gone.
const drainLook = 100 * time.Millisecond

func (a *app) drainCommand() *cobra.Command {
	var grace time.Duration
	var detach bool
	cmd := &cobra.Command{
		Use: "drain", Short: "end the node that runs when the transfers that move have ended", Args: noArgs,
		Long: `Drain has the node begin nothing more: no session, no transfer, no forward. When the transfers that move have ended the node does, as by stop; what still
moves after --grace pauses, and goes on when the node is up again, as do transfers that wait. Forwards and pipes end with the node. The command returns when the node has gone;
Ctrl-C leaves it draining. node stop, or drain with another --grace, ends it sooner. SIGTERM and SIGINT do the same with the grace that node.drain_grace says (none unless it is set).`,
		Example: "  node drain\n  node drain --grace 1h --detach\n  node drain --grace 0s",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := a.limit(cmd.Context(), 0)
			defer cancel()
			c, err := a.client()
			if err != nil {
				return err
			}
			done, err := c.Drain(ctx, grace)
			if err != nil {
				return err
			}
			if !detach {
				if done.DrainStatus, err = a.awaitDrained(ctx, c, done.DrainStatus); err != nil {
					return err
				}
			}
			return a.print(done, func(w io.Writer) {
				switch {
				case detach:
					fmt.Fprintf(w, "%s ends with %d transfers, at %s at the latest\n", done.Device.Name, done.Transfers, done.Until.Local().Format("15:04:05"))
				case done.Transfers > 0:
					fmt.Fprintf(w, "%s has stopped; %d transfers go on when it is up again\n", done.Device.Name, done.Transfers)
				default:
					fmt.Fprintf(w, "%s has stopped\n", done.Device.Name)
				}
			})
		},
	}
	cmd.Flags().DurationVar(&grace, "grace", 10*time.Minute, "how long transfers may go on; 0s: they pause at once; at most 24h")
	cmd.Flags().BoolVar(&detach, "detach", false, "do not wait for the end")
	return cmd
}

// awaitDrained returns when the node has gone, with the last that was seen of the drain: no transfers, unless time was up before they had ended.
func (a *app) awaitDrained(ctx context.Context, c *daemon.Client, last daemon.DrainStatus) (daemon.DrainStatus, error) {
	told := -1
	for {
		if last.Transfers != told && last.Transfers > 0 {
			fmt.Fprintf(a.talk(), "%d transfers to end, until %s\n", last.Transfers, last.Until.Local().Format("15:04:05"))
		}
		told = last.Transfers
		s, err := c.Status(ctx)
		var e *cli.Error
		switch {
		case err == nil && s.Draining != nil:
			last = *s.Draining
		case ctx.Err() != nil:
			return last, cli.Errorf("E_INTERRUPTED", "left while the node drains").Hint("it ends by itself; now: node stop")
		case errors.As(err, &e) && e.Code == "E_NO_DAEMON":
			if time.Now().Before(last.Until) {
				last.Transfers = 0
			}
			return last, nil
		case err != nil:
			continue // it was asked in the moment of its end
		}
		if !wait(ctx, drainLook) {
			continue
		}
	}
}
