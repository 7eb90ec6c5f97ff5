package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"traverse.internal/internal/cli"
	"traverse.internal/internal/configcmd"
)

// app is one run of the program: what every command has in common.
type app struct {
	env            []string
	stdout, stderr io.Writer
	signals        *signals

	kept  []string        // names of sockets that an earlier run had stored
	given map[string]bool // sockets of the service manager, by ID: whether a .socket unit has it

	home   string
	config string
	json   bool
}

// run executes one command line and returns its exit code. It ends early, and well, when ctx does.
func run(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	a := &app{env: env, stdout: stdout, stderr: stderr, signals: newSignals()}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	// A wrong command line may not have been read as far as --json.
	return cli.Report(a.stdout, a.stderr, err, a.json || slices.Contains(args, "--json"))
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "turnd",
		Short: "a TURN server: relayed addresses over UDP and TCP, RFC 8656 and RFC 6062",
		Example: `  turnd run                                  # on this machine's loopback, with a user of its own making
  turnd run --users-file users.txt           # on port 3478 of every address
  turnd help exit-codes`,
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              noArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(usage)
	root.SetHelpTemplate(helpTemplate)
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .HasExample}}\n\nExamples:\n{{.Example}}{{end}}", "", 1))
	flags := root.PersistentFlags()
	flags.StringVar(&a.home, "home", "", "folder of traverse.toml (default: the XDG folder)")
	flags.StringVar(&a.config, "config", "", "configuration file (default: traverse.toml in the home)")
	flags.BoolVar(&a.json, "json", false, "print JSON objects")
	root.AddCommand(a.runCommand(), a.checkCommand(), a.conformanceCommand(), a.benchCommand(), a.reloadCommand(), a.drainCommand(), a.sessionsCommand(), a.topCommand(), a.userCommand(), a.credCommand(), a.configCommand(), configcmd.Credentials("turnd", a.stderr), a.manCommand(), a.versionCommand())
	root.SetHelpCommand(helpCommand())
	return root
}

// helpTemplate shows examples before anything else.
const helpTemplate = `{{.Short}}
{{if .HasExample}}
Examples:
{{.Example}}
{{end}}{{with .Long}}
{{.}}
{{end}}
{{.UsageString}}`

// usage marks an error as the command line's.
func usage(cmd *cobra.Command, err error) error {
	return cli.Errorf("E_USAGE", "%v", err).Hint("%s -h", cmd.CommandPath())
}

func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasSubCommands():
		return cli.Errorf("E_USAGE", "unknown command %q for %q", args[0], cmd.CommandPath()).Hint("%s -h", cmd.CommandPath())
	}
	return cli.Errorf("E_USAGE", "%s takes no arguments, got %q", cmd.CommandPath(), args[0]).Hint("%s -h", cmd.CommandPath())
}

// exactArgs refuses another number of arguments.
func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case n == 0:
			return noArgs(cmd, args)
		case len(args) != n:
			return cli.Errorf("E_USAGE", "%s takes %d arguments, got %d", cmd.CommandPath(), n, len(args)).Hint("%s -h", cmd.CommandPath())
		}
		return nil
	}
}

// helpCommand explains commands, exit codes and error codes.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND | exit-codes | E_CODE]",
		Short: "explain a command, the exit codes, or an error code",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "exit-codes" {
				fmt.Fprint(cmd.OutOrStdout(), cli.ExitHelp())
				return nil
			}
			for _, c := range cli.Codes {
				if len(args) == 1 && c.Name == args[0] {
					fmt.Fprintf(cmd.OutOrStdout(), "%s (exit code %d): %s\n", c.Name, c.Exit, c.Meaning)
					return nil
				}
			}
			target, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return cli.Errorf("E_USAGE", "no help on %q", strings.Join(args, " ")).Hint("turnd -h")
			}
			return target.Help()
		},
	}
}
