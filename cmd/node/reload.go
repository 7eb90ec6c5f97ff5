package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
)

func (a *app) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reload", Short: "apply the configuration and the secrets as they are now, without ending anything", Args: noArgs,
		Long: `Log, accept.default, transfer.min_free, path.stun, the relays with their passwords, and what of the relay inside can be are changed in the running node;
keys that need a restart are named. With a wrong configuration everything stays as it was.`,
		Example: "  node reload\n  kill -HUP $(pidof node)                    # the same",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd, quick, func(ctx context.Context, c *daemon.Client) error {
				done, err := c.Reload(ctx)
				if err != nil {
					return err
				}
				return a.print(done, func(w io.Writer) { printReloaded(w, done) })
			})
		},
	}
}

func printReloaded(w io.Writer, done daemon.Reloaded) {
	what := "nothing has changed"
	if len(done.Applied) > 0 {
		what = strings.Join(done.Applied, ", ")
	}
	fmt.Fprintf(w, "reloaded: %s\n", what)
	if r := done.Relay; r != nil {
		fmt.Fprintf(w, "relay inside: %d users, %d permissions taken back\n", r.Users, r.Revoked)
	}
	if len(done.Restart) > 0 {
		fmt.Fprintf(w, "needs a restart: %s\n", strings.Join(done.Restart, ", "))
	}
}
