package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

// quick bounds commands that only ask the daemon something.
const quick = 10 * time.Second

func (a *app) contactCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "contact", Short: "the devices this one knows", Args: noArgs,
		Long: `Contacts are the devices this one talks to. Both sides must know each other: strangers get no answer at all.
The devices of an account have the same contacts: what is added, renamed, blocked, removed, or taken unasked (auto-accept) at one of them is so at all, as soon as they meet.
A folder for files (download-dir), ports (listen) and the kind of path are each device's own.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "add NAME DEVICE_ID", Short: "know a device under a name", Args: exactArgs(2),
			Example: "  node contact add phone VPMHC3A-… # the id that `node id` prints there",
			RunE: func(cmd *cobra.Command, args []string) error {
				h, err := a.place()
				if err != nil {
					return err
				}
				ctx, cancel := a.limit(cmd.Context(), quick)
				defer cancel()
				c, err := daemon.AddContact(ctx, h, args[0], args[1])
				if err != nil {
					return err
				}
				return a.print(c, func(w io.Writer) { fmt.Fprintf(w, "%s is %s\n", c.Name, c.Device) })
			},
		},
		&cobra.Command{
			Use: "ls", Short: "list the contacts", Args: noArgs, Example: "  node contact ls",
			RunE: func(*cobra.Command, []string) error {
				h, err := a.place()
				if err != nil {
					return err
				}
				list, err := daemon.ListContacts(h)
				if err != nil {
					return err
				}
				return a.print(list, func(w io.Writer) {
					tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
					for _, c := range list.Contacts {
						fmt.Fprintf(tw, "%s\t%s\t%s\n", c.Name, c.Device, policyText(c.Policy))
					}
					tw.Flush()
				})
			},
		},
		a.contactShowCommand(),
		a.contactTrustCommand(),
		a.contactSetCommand(),
		a.contactPolicyCommand(),
		&cobra.Command{
			Use: "rename NAME NEW", Short: "call a contact something else", Args: exactArgs(2), Example: "  node contact rename phone old-phone",
			RunE: func(cmd *cobra.Command, args []string) error {
				ctx, cancel := a.limit(cmd.Context(), quick)
				defer cancel()
				return a.oneContact(func(h daemon.Home) (daemon.ContactObject, error) {
					return daemon.RenameContact(ctx, h, args[0], args[1])
				})
			},
		},
		&cobra.Command{
			Use: "block NAME", Short: "treat a contact as a stranger: no answer at all", Args: exactArgs(1),
			Example: "  node contact block phone\n  node contact set phone blocked=off",
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.setContact(cmd, args[0], map[string]string{"blocked": "on"})
			},
		},
		&cobra.Command{
			Use: "rm NAME", Short: "forget a contact, and end the sessions with it", Args: exactArgs(1), Example: "  node contact rm phone",
			RunE: func(cmd *cobra.Command, args []string) error {
				ctx, cancel := a.limit(cmd.Context(), quick)
				defer cancel()
				if err := a.confirm(cmd.Context(), fmt.Sprintf("Forget %s, and what was agreed with it?", args[0])); err != nil {
					return err
				}
				return a.oneContact(func(h daemon.Home) (daemon.ContactObject, error) { return daemon.RemoveContact(ctx, h, args[0]) })
			},
		},
	)
	return cmd
}

func (a *app) contactSetCommand() *cobra.Command {
	long := "Set changes what differs for one contact, with or without a running daemon:\n"
	for _, k := range daemon.PolicyKeys {
		long += fmt.Sprintf("\n  %-13s %s", k[0], k[1])
	}
	return &cobra.Command{
		Use: "set NAME KEY=VALUE...", Short: "change what a contact may do", Args: minArgs(2), Long: long,
		Example: "  node contact set phone auto-accept=2GiB download-dir=/home/me/phone\n  node contact set phone path=direct-only\n  node contact set phone auto-accept=off",
		RunE: func(cmd *cobra.Command, args []string) error {
			values := map[string]string{}
			for _, pair := range args[1:] {
				key, value, ok := strings.Cut(pair, "=")
				if !ok {
					return usage(cmd, fmt.Errorf("%q is not KEY=VALUE", pair))
				}
				values[key] = value
			}
			if dir := values["download-dir"]; dir != "" && dir != "off" {
				path, err := filepath.Abs(dir)
				if err != nil {
					return cli.Errorf("E_LOCAL_IO", "cannot find the current folder").Because(err)
				}
				values["download-dir"] = path
			}
			return a.setContact(cmd, args[0], values)
		},
	}
}

// contactPolicyCommand is `contact set` under the name that goes with the word policy.
func (a *app) contactPolicyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "policy", Short: "what a contact may do: policy set is contact set", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	set := a.contactSetCommand()
	set.Short, set.Example = "the same as contact set", "  node contact policy set bob auto-accept=2GiB path=direct-only"
	cmd.AddCommand(set)
	return cmd
}

func (a *app) setContact(cmd *cobra.Command, who string, values map[string]string) error {
	ctx, cancel := a.limit(cmd.Context(), quick)
	defer cancel()
	return a.oneContact(func(h daemon.Home) (daemon.ContactObject, error) { return daemon.SetContact(ctx, h, who, values) })
}

// oneContact prints the contact that a call gives.
func (a *app) oneContact(call func(daemon.Home) (daemon.ContactObject, error)) error {
	h, err := a.place()
	if err != nil {
		return err
	}
	c, err := call(h)
	if err != nil {
		return err
	}
	return a.print(c, func(w io.Writer) { fmt.Fprintf(w, "%s  %s  %s\n", c.Name, c.Device, policyText(c.Policy)) })
}

// policyText is a contact's policy as `contact set` takes it.
func policyText(p *daemon.ContactPolicy) string {
	var parts []string
	if p == nil {
		return ""
	}
	if p.Blocked {
		parts = append(parts, "blocked=on")
	}
	if p.Path != "" {
		parts = append(parts, "path="+p.Path)
	}
	if p.AutoAccept > 0 {
		parts = append(parts, "auto-accept="+strings.ReplaceAll(cli.Size(p.AutoAccept), " ", ""))
	}
	if p.Downloads != "" {
		parts = append(parts, "download-dir="+p.Downloads)
	}
	if p.Listen {
		parts = append(parts, "listen=on")
	}
	if p.Hold {
		parts = append(parts, "new-devices=hold")
	}
	return strings.Join(parts, " ")
}
