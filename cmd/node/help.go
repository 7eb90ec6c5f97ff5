package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"traverse.internal/internal/cli"
)

// helpTemplate has the examples first: most who ask for help look for a line to copy.
const helpTemplate = `{{.Short}}
{{if .HasExample}}
Examples:
{{.Example}}
{{end}}{{with .Long}}
{{.}}
{{end}}
Usage:
  {{if .HasAvailableSubCommands}}{{if index .Annotations "arguments"}}{{.UseLine}}
  {{end}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}
{{if .HasAvailableSubCommands}}
Commands:
{{range .Commands}}{{if or .IsAvailableCommand (eq .Name "help")}}  {{rpad .Name .NamePadding}} {{.Short}}
{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}
Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{end}}{{if .HasAvailableInheritedFlags}}
Flags of every command:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}
{{end}}`

// takesArguments marks a command that does something itself besides having subcommands.
var takesArguments = map[string]string{"arguments": "yes"}

// helpCommand explains commands, exit codes and error codes.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND | exit-codes | E_CODE]",
		Short: "explain a command, the exit codes, or an error code",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && args[0] == "exit-codes":
				fmt.Fprint(cmd.OutOrStdout(), cli.ExitHelp())
				return nil
			case len(args) == 1 && strings.HasPrefix(args[0], "E_"):
				for _, c := range cli.Codes {
					if c.Name == args[0] {
						fmt.Fprintf(cmd.OutOrStdout(), "%s (exit code %d): %s\n", c.Name, c.Exit, c.Meaning)
						return nil
					}
				}
			}
			target, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return cli.Errorf("E_USAGE", "no help on %q", strings.Join(args, " ")).Hint("node -h")
			}
			return target.Help()
		},
	}
}
