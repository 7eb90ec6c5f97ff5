package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"traverse.internal/internal/cli"
)

// versionCommand says what this program was built from.
func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "say what this program was built from", Args: noArgs,
		Example: "  turnd version --json",
		RunE: func(*cobra.Command, []string) error {
			build := cli.ThisBuild()
			if a.json {
				return json.NewEncoder(a.stdout).Encode(struct {
					cli.Envelope
					cli.Build
				}{cli.Envelope{Schema: "turnd.v1", Kind: "version"}, build})
			}
			_, err := fmt.Fprintln(a.stdout, "turnd", build)
			return err
		},
	}
}
