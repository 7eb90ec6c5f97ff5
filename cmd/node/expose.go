package main

import (
	"context"
	"errors"
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

func (a *app) exposeCommand() *cobra.Command {
	var req daemon.ExposeRequest
	var udp, unix bool
	cmd := &cobra.Command{
		Use: "expose NAME ADDR", Short: "let contacts reach a service of this machine or its network", Args: exactArgs(2),
		Annotations: takesArguments,
		Long: `Nothing is reachable unless it is exposed. ADDR is PORT on this machine, HOST:PORT, unix:PATH, or NETWORK/BITS:PORT (PORT or *) for a range of
addresses, which contacts then reach by their addresses (forward -L PORT:HOST:PORT, --socks). Without --to every contact reaches it. It holds until
the daemon ends; with --save it is exposed again when the daemon begins. The same name again replaces the service.`,
		Example: `  node expose ssh 22 --to laptop --save
  node expose web 127.0.0.1:8080
  node expose dns 192.168.1.1:53 --udp
  node expose lan '192.168.1.0/24:*' --to laptop
  node expose ls`,
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Name, req.Addr = args[0], args[1]
			switch {
			case udp && unix:
				return usage(cmd, errors.New("--udp and --unix exclude each other"))
			case udp:
				req.Addr = "udp:" + strings.TrimPrefix(req.Addr, "udp:")
			case unix:
				abs, err := filepath.Abs(strings.TrimPrefix(req.Addr, "unix:"))
				if err != nil {
					return cli.Errorf("E_LOCAL_IO", "cannot find the current folder").Because(err)
				}
				req.Addr = "unix:" + abs
			}
			return a.ask(cmd, quick, func(ctx context.Context, c *daemon.Client) error {
				s, err := c.Expose(ctx, req)
				if err != nil {
					return err
				}
				return a.print(s, func(w io.Writer) { printServices(w, []daemon.Service{s}) })
			})
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&req.To, "to", nil, "only these contacts (default: every contact)")
	f.BoolVar(&udp, "udp", false, "ADDR takes datagrams (forward -U); each flow ends when nothing moves for two minutes, or --idle")
	f.BoolVar(&unix, "unix", false, "ADDR is the path of a socket, as unix:PATH")
	f.IntVar(&req.PerContact, "per-contact", 0, "connections of one contact at once (default 32)")
	f.IntVar(&req.Conns, "max", 0, "connections at once (default 256)")
	f.DurationVar(&req.Idle, "idle", 0, "end connections on which nothing moves for so long (default 24h; datagrams 2m)")
	f.BoolVar(&req.Save, "save", false, "expose it again when the daemon begins")
	cmd.AddCommand(
		&cobra.Command{
			Use: "ls", Short: "list what is exposed", Args: noArgs, Example: "  node expose ls",
			RunE: func(cmd *cobra.Command, _ []string) error {
				return a.ask(cmd, quick, func(ctx context.Context, c *daemon.Client) error {
					list, err := c.Services(ctx)
					if err != nil {
						return err
					}
					return a.print(list, func(w io.Writer) { printServices(w, list.Services) })
				})
			},
		},
		&cobra.Command{
			Use: "rm NAME", Short: "expose a service no longer", Args: exactArgs(1), Example: "  node expose rm web",
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.ask(cmd, quick, func(ctx context.Context, c *daemon.Client) error {
					s, err := c.Unexpose(ctx, args[0])
					if err != nil {
						return err
					}
					return a.print(s, func(w io.Writer) { fmt.Fprintf(w, "%s is no longer exposed\n", s.Name) })
				})
			},
		},
	)
	return cmd
}

func printServices(w io.Writer, list []daemon.Service) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range list {
		to := "every contact"
		if len(s.To) > 0 {
			var names []string
			for _, p := range s.To {
				names = append(names, p.Name)
			}
			to = strings.Join(names, ", ")
		}
		saved := ""
		if s.Saved {
			saved = "saved"
		}
		fmt.Fprintf(tw, "%s\t%s\tto %s\t%d open of %d\t%s\n", s.Name, s.Addr, to, s.Open, s.Total, saved)
	}
	tw.Flush()
}

// ask runs a call to the daemon, bounded by --timeout or the time given.
func (a *app) ask(cmd *cobra.Command, limit time.Duration, call func(context.Context, *daemon.Client) error) error {
	ctx, cancel := a.limit(cmd.Context(), limit)
	defer cancel()
	c, err := a.client()
	if err != nil {
		return err
	}
	return call(ctx, c)
}
