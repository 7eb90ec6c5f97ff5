package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
)

func (a *app) getCommand() *cobra.Command {
	var req daemon.GetRequest
	var wait string
	cmd := &cobra.Command{
		Use: "get PEER:TRANSFER | HASH", Short: "ask for a file again that was announced earlier", Args: exactArgs(1),
		Long: `Get asks the devices of a contact, or of this account, for what was sent to any device of this account or by it: for a transfer by its id, or for a file by its SHA3-256. Where
several devices have it up to four send at once, each a part; who is slow or gone holds up nothing, and what is there is checked against the digest. Nobody has to accept anything.`,
		Example: "  node get alice:t-x5wd3yhfbdcnl4k2tpvq6ma7ze # the id that `node transfers ls` shows on a device that has it\n  node get me:t-x5wd3yhfbdcnl4k2tpvq6ma7ze\n  node get 3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532 --from any",
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait != "none" && wait != "done" {
				return usage(cmd, fmt.Errorf("--wait is none or done, not %q", wait))
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, cancel := a.limit(cmd.Context(), 0)
			defer cancel()
			req.What = args[0]
			t, err := c.Get(ctx, req)
			if err != nil {
				return err
			}
			t.Runs = max(t.Runs, 1) // one that is queued is waited for
			if t, err = a.follow(ctx, c, t, wait); err != nil {
				return err
			}
			return a.outcome(t)
		},
	}
	cmd.Flags().StringVar(&req.From, "from", "", "whom to ask: a contact, me, or any (default: the PEER named; for a HASH any, own devices first)")
	cmd.Flags().StringVar(&wait, "wait", "done", "stay until: none, done")
	return cmd
}
