package main

import (
	"github.com/spf13/cobra"

	"traverse.internal/internal/manpage"
)

// manCommand prints the manual page, which packages install. It is for who builds them, and not in the help.
func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man", Short: "print the manual page", Hidden: true, Args: noArgs,
		Example: "  turnd man | man -l -",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return manpage.Write(cmd.OutOrStdout(), cmd.Root(), cmd.Root().Name(), manpage.ExitStatus(),
				manpage.Section{Title: "FILES", Items: []manpage.Item{
					{Term: "/etc/traverse/traverse.toml", Text: "The configuration, as a service; otherwise traverse.toml in the XDG configuration folder. \"turnd config show --origin\" says what is in force and where it came from."},
					{Term: "/etc/traverse/users", Text: "The users, as a service: lines that \"turnd user add\" makes."},
				}},
				manpage.Section{Title: "ENVIRONMENT", Items: []manpage.Item{
					{Term: "TRAVERSE_SECTION_KEY", Text: "Any key of the configuration; it rules over the file, and a flag rules over it."},
				}},
				manpage.Section{Title: "SIGNALS", Items: []manpage.Item{
					{Term: "SIGHUP", Text: "Reads configuration, users, secrets and certificates again, without ending a session."},
					{Term: "SIGTERM", Text: "Lets sessions end and then ends; a second one ends at once."},
				}},
				manpage.Section{Title: "SEE ALSO", Items: []manpage.Item{{Text: "traverse(1)"}}},
			)
		},
	}
}
