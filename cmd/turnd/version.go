package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"traverse.internal/core/ktls"
	"traverse.internal/core/offload"
	"traverse.internal/internal/cli"
)

// versionCommand says what this program was built from.
func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "say what this program was built from", Args: noArgs,
		Example: "  turnd version --json",
		RunE: func(*cobra.Command, []string) error {
			build := cli.ThisBuild(cli.Features{"ktls": ktls.Built, "offload": offload.Built})
			return a.print(cli.Version{Envelope: cli.Envelope{Schema: "turnd.v1", Kind: "version"}, Build: build}, func() {
				fmt.Fprintln(a.stdout, "turnd", build)
			})
		},
	}
}
