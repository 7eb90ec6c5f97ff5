package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"traverse.internal/core/ktls"
	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

// versionCommand says what this program was built from.
func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "say what this program was built from, and with what", Args: noArgs,
		Example: "  node version --json",
		RunE: func(*cobra.Command, []string) error {
			build := cli.ThisBuild(cli.Features{"ktls": ktls.Built})
			return a.print(cli.Version{Envelope: cli.Envelope{Schema: daemon.Schema, Kind: "version"}, Build: build}, func(w io.Writer) {
				fmt.Fprintln(w, a.name, build)
			})
		},
	}
}
