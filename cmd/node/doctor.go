package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"traverse.internal/config"
	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "what is wrong with this machine, the home or the network, and the command that mends it", Args: noArgs,
		Long: "Doctor looks at limits, clock, connection tracking, disk, permissions and ports, and through the running node at the DHT, the relays and their " +
			"certificates. The exit code is 19 with warnings and 20 with failures.",
		Example: "  node doctor\n  node doctor --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.place()
			if err != nil {
				return err
			}
			file, err := a.configFile(h)
			if err != nil {
				return err
			}
			conf, err := config.Load(file, a.env, nil)
			if err != nil {
				return wrongConfig(cmd, err)
			}
			ctx, cancel := a.limit(cmd.Context(), netcheckTimeout)
			defer cancel()
			x := daemon.Examine(ctx, h, conf)
			say := a.advice(cmd)
			for i := range x.Findings {
				x.Findings[i].Fix = say(x.Findings[i].Fix)
			}
			return errors.Join(a.print(x, func(w io.Writer) { printDoctor(w, x) }), doctorVerdict(x))
		},
	}
}

func printDoctor(w io.Writer, x daemon.Doctor) {
	for _, f := range x.Findings {
		fmt.Fprintf(w, "%-8s %-12s %s\n", f.Level, f.Check, f.What)
		if f.Fix != "" {
			fmt.Fprintf(w, "  try: %s\n", f.Fix)
		}
	}
	fmt.Fprintf(w, "%d warnings, %d failures\n", x.Warnings, x.Failures)
}

// doctorVerdict is the exit code; what is wrong was told.
func doctorVerdict(x daemon.Doctor) error {
	switch {
	case x.Failures > 0:
		return &cli.Error{Exit: cli.ExitDoctorFailures}
	case x.Warnings > 0:
		return &cli.Error{Exit: cli.ExitDoctorWarnings}
	}
	return nil
}
