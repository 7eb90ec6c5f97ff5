package main

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"traverse.internal/internal/cli"
	"traverse.internal/internal/manpage"
)

// ownName is what the program is called in the repository and in all its texts; installedName what packages call it,
// since node is the name of another program on most systems.
const (
	ownName       = "node"
	installedName = "traverse"
)

// calledAs is the name the program was started by, if it is one of its own.
func calledAs(path string) string {
	if name := strings.TrimSuffix(filepath.Base(path), ".exe"); name == installedName {
		return name
	}
	return ownName
}

// rename makes the help say what the program is called.
func (a *app) rename(root *cobra.Command) {
	if a.name == "" || a.name == ownName {
		return
	}
	names := manpage.Names(root)
	root.Use = a.name
	for _, cmd := range append([]*cobra.Command{root}, allCommands(root)...) {
		cmd.Example = cli.Renamed(cmd.Example, ownName, a.name, names)
	}
}

// advice renames the commands in what an answer tells to try: they are called as this program was.
func (a *app) advice(cmd *cobra.Command) func(string) string {
	names := manpage.Names(cmd.Root())
	return func(text string) string {
		if a.name == "" {
			return text
		}
		return cli.Renamed(text, ownName, a.name, names)
	}
}

// allCommands are those below cmd.
func allCommands(cmd *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, sub := range cmd.Commands() {
		all = append(append(all, sub), allCommands(sub)...)
	}
	return all
}

// manCommand prints the manual page, which packages install. It is for who builds them, and not in the help.
func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man", Short: "print the manual page", Hidden: true, Args: noArgs,
		Example: "  node man | man -l -",
		RunE: func(cmd *cobra.Command, _ []string) error {
			// The page is about the installed program, whatever this one is called.
			page := &app{name: ownName, stdout: a.stdout, stderr: a.stderr}
			return manpage.Write(cmd.OutOrStdout(), page.root(), installedName,
				manpage.ExitStatus(),
				manpage.Section{Title: "FILES", Items: []manpage.Item{
					{Term: "/etc/traverse/traverse.toml", Text: "The configuration, as a service; otherwise traverse.toml in the XDG configuration folder. \"" + installedName + " config show --origin\" says what is in force and where it came from."},
					{Term: "/var/lib/traverse", Text: "Identity, contacts, transfers and received files, as a service; otherwise in the XDG folders."},
					{Term: "/run/traverse/node.sock", Text: "The local API, as a service."},
				}},
				manpage.Section{Title: "ENVIRONMENT", Items: []manpage.Item{
					{Term: "TRAVERSE_SECTION_KEY", Text: "Any key of the configuration; it rules over the file, and a flag rules over it."},
				}},
				manpage.Section{Title: "SEE ALSO", Items: []manpage.Item{{Text: "turnd(1)"}}},
			)
		},
	}
}
