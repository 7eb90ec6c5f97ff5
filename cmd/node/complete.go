package main

import (
	"regexp"
	"slices"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
)

// takesPeer are commands whose first argument is a contact, by what their usage calls it, as are those of `contact` with a takesName; takesPeers are those
// whose last arguments are contacts.
var (
	takesPeer  = regexp.MustCompile(`^\S+ \[?PEER\b`)
	takesName  = regexp.MustCompile(`^(show|trust|set|rename|block|rm) NAME\b`)
	takesPeers = regexp.MustCompile(` PEER\.\.\.$`)
)

// completeContacts lets the shell complete the names of contacts, as they are at that moment; no daemon is asked.
func (a *app) completeContacts(of *cobra.Command) {
	for _, c := range of.Commands() {
		switch {
		case c.ValidArgsFunction != nil:
		case takesPeers.MatchString(c.Use):
			c.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
				if len(args) == 0 {
					return nil, cobra.ShellCompDirectiveDefault // files
				}
				return a.contactNames(args), cobra.ShellCompDirectiveDefault
			}
		case takesPeer.MatchString(c.Use), takesName.MatchString(c.Use) && (of.Name() == "contact" || of.Name() == "policy"):
			c.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
				if len(args) > 0 {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				return a.contactNames(nil), cobra.ShellCompDirectiveNoFileComp
			}
		}
		a.completeContacts(c)
	}
}

// contactNames are those of the contacts that are not given already; none where they cannot be read.
func (a *app) contactNames(given []string) (names []string) {
	h, err := a.place()
	if err != nil {
		return nil
	}
	list, err := daemon.ListContacts(h)
	if err != nil {
		return nil
	}
	for _, c := range list.Contacts {
		if !slices.Contains(given, c.Name) {
			names = append(names, c.Name)
		}
	}
	return names
}
