package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

func (a *app) stopCommand() *cobra.Command {
	return &cobra.Command{
		Use: "stop", Short: "end the node that runs, in order", Args: noArgs,
		Long: `Stop ends the home's node as SIGTERM does, and returns when it has gone. Transfers go on where they are when it is up again. A service manager that has
started it sees an end without a fault.`,
		Example: "  node stop",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd, quick, func(ctx context.Context, c *daemon.Client) error {
				done, err := c.Stop(ctx)
				if err != nil {
					return err
				}
				// The socket goes last.
				for ; err == nil; _, err = c.Status(ctx) {
					if ctx.Err() != nil {
						break
					}
				}
				var e *cli.Error
				if errors.As(err, &e) && e.Code != "E_NO_DAEMON" {
					return e
				}
				return a.print(done, func(w io.Writer) { fmt.Fprintf(w, "%s has stopped\n", done.Device.Name) })
			})
		},
	}
}
