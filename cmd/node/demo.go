package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"traverse.internal/demo"
	"traverse.internal/internal/cli"
)

func (a *app) demoCommand() *cobra.Command {
	var opt demo.Options
	cmd := &cobra.Command{
		Use: "demo", Short: "run the whole line on this machine and check it", Args: noArgs,
		Long: `Demo starts a private DHT, a relay and three devices, all on the loopback interface, and lets them find each other,
connect direct and relayed over IPv4 and IPv6, move files, decline, cancel, and survive the relay's death. Every line is
measured and asserted. It needs no configuration, no root and no network, and leaves nothing behind.`,
		Example: "  node demo\n  node demo --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := a.limit(cmd.Context(), 0)
			defer cancel()
			switch {
			case !a.json:
				opt.OnStage = func(s demo.Stage) { s.Write(a.stdout) }
			case a.lines:
				opt.OnStage = func(s demo.Stage) { _ = json.NewEncoder(a.stdout).Encode(s) }
			}
			report, err := demo.Run(ctx, opt)
			if err != nil {
				return cli.Errorf("E_LOCAL_IO", "the demo cannot run").Because(err).Hint("name a folder that can be written to: --dir DIR")
			}
			if a.json {
				err = json.NewEncoder(a.stdout).Encode(report)
			} else {
				report.Write(a.stdout)
			}
			switch {
			case err != nil || report.Pass:
				return err
			case a.json:
				return &cli.Error{Exit: cli.ExitUnexpected} // the report has said it all
			}
			return failedDemo(report)
		},
	}
	cmd.Flags().BoolVar(&opt.Keep, "keep", false, "leave the temporary folder")
	cmd.Flags().StringVar(&opt.Dir, "dir", "", "make the temporary folder in this one (needs 2 GiB)")
	return cmd
}

// failedDemo is the exit code of a demo that ran and did not hold.
func failedDemo(r demo.Report) error {
	e := cli.Errorf("E_UNEXPECTED", "the demo failed")
	for _, s := range r.Stages {
		if !s.Pass {
			e.Because(fmt.Errorf("%s: %s", s.Name, s.Error))
		}
	}
	return e
}
