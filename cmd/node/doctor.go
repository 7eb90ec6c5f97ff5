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
	var bundle string
	var withoutIDs bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "what is wrong with this machine, the home or the network, and the command that mends it", Args: noArgs,
		Long: "Doctor looks at limits, clock, connection tracking, disk, permissions and ports, and through the running node at the DHT, the relays and their " +
			"certificates. The exit code is 19 with warnings and 20 with failures.\nWith --bundle all that helps somebody else to see what is wrong is written into one file, and its exit code is 0 whatever doctor finds. " + bundleHelp,
		Example: "  node doctor\n  node doctor --json\n  node doctor --bundle node.tar.gz --without-ids",
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
			if withoutIDs && bundle == "" {
				return usage(cmd, errors.New("--without-ids is about a --bundle"))
			}
			ctx, cancel := a.limit(cmd.Context(), netcheckTimeout)
			defer cancel()
			if bundle != "" {
				return a.bundle(ctx, cmd, h, conf, bundle, withoutIDs)
			}
			x := daemon.Examine(ctx, h, conf)
			say := a.advice(cmd)
			for i := range x.Findings {
				x.Findings[i].Fix = say(x.Findings[i].Fix)
			}
			return errors.Join(a.print(x, func(w io.Writer) { printDoctor(w, x) }), doctorVerdict(x))
		},
	}
	cmd.Flags().StringVar(&bundle, "bundle", "", "write what others need to see what is wrong into this file, FILE.tar.gz, which must not exist")
	cmd.Flags().BoolVar(&withoutIDs, "without-ids", false, "with --bundle: leave out ids, names of devices, contacts, users and files, and the host's")
	return cmd
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
