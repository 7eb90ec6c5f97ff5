package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

// connectTime bounds commands that may have to connect to a peer first. The daemon gives up before, with a reason: a call takes 30 s, 75 s on Mainline,
// as long as signalling.timeout says and 2 min at most; ten seconds go by for the relays after it.
const connectTime = 2*time.Minute + 30*time.Second

func (a *app) forwardCommand() *cobra.Command {
	var local, remote, udp, unix, socks []string
	var save bool
	var idle time.Duration
	cmd := &cobra.Command{
		Use: "forward PEER", Short: "forward ports to what a contact exposes, and back", Args: exactArgs(1),
		Annotations: takesArguments,
		Long: `Forward listens in the daemon, until it ends or the forward is removed; with --save it begins again when the daemon does.
The other side decides what is reachable: -L, -U and --socks reach what it exposes (node expose), -R needs its leave (node contact set NAME listen=on).
Without an address a port is this machine's loopback.`,
		Example: `  node forward bob -L 8080:web               # the service that bob exposes as web
  node forward bob -L 8080:10.0.0.7:80       # an address that bob exposes
  node forward bob -R 9000:127.0.0.1:3000    # port 9000 of bob's loopback comes here
  node forward bob -U 5353:10.0.0.1:53        # datagrams to an address that bob exposes with --udp
  node forward bob --socks 1080 --save
  node forward ls`,
		RunE: func(cmd *cobra.Command, args []string) error {
			reqs, err := forwardRequests(local, remote, udp, unix, socks)
			if err != nil {
				return usage(cmd, err)
			}
			return a.ask(cmd, connectTime, func(ctx context.Context, c *daemon.Client) error {
				list := daemon.ForwardList{Envelope: daemon.Envelope("forwards")}
				for _, req := range reqs {
					req.Peer, req.Save, req.Idle = args[0], save, idle
					f, err := c.Forward(ctx, req)
					if err != nil {
						return errors.Join(err, undoForwards(c, list.Forwards))
					}
					list.Forwards = append(list.Forwards, f)
				}
				return a.print(list, func(w io.Writer) { printForwards(w, list.Forwards) })
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&local, "local", "L", nil, "listen here: [BIND:]PORT:SERVICE or [BIND:]PORT:HOST:HOSTPORT")
	f.StringArrayVarP(&remote, "remote", "R", nil, "have the contact listen: [BIND:]PORT:HOST:HOSTPORT on this side")
	f.StringArrayVarP(&udp, "udp", "U", nil, "take datagrams here: [BIND:]PORT:SERVICE or [BIND:]PORT:HOST:HOSTPORT")
	f.StringArrayVar(&unix, "unix", nil, "listen on a socket here: PATH:SERVICE or PATH:HOST:HOSTPORT")
	f.StringArrayVar(&socks, "socks", nil, "a SOCKS5 proxy here: [BIND:]PORT")
	f.BoolVar(&save, "save", false, "begin again when the daemon does")
	f.DurationVar(&idle, "idle", 0, "end connections on which nothing moves for so long (default 24h; datagrams 2m)")
	cmd.AddCommand(
		&cobra.Command{
			Use: "ls", Short: "list the forwards", Args: noArgs, Example: "  node forward ls",
			RunE: func(cmd *cobra.Command, _ []string) error {
				return a.ask(cmd, quick, func(ctx context.Context, c *daemon.Client) error {
					list, err := c.Forwards(ctx)
					if err != nil {
						return err
					}
					return a.print(list, func(w io.Writer) { printForwards(w, list.Forwards) })
				})
			},
		},
		&cobra.Command{
			Use: "rm ID", Short: "end a forward and its connections", Args: exactArgs(1), Example: "  node forward rm f-7f3kq2zj",
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.ask(cmd, quick, func(ctx context.Context, c *daemon.Client) error {
					f, err := c.RemoveForward(ctx, args[0])
					if err != nil {
						return err
					}
					return a.print(f, func(w io.Writer) { printForwards(w, []daemon.ForwardObject{f}) })
				})
			},
		},
	)
	return cmd
}

// undoForwards takes away what a command that failed had begun.
func undoForwards(c *daemon.Client, begun []daemon.ForwardObject) error {
	ctx, cancel := context.WithTimeout(context.Background(), quick)
	defer cancel()
	var failed error
	for _, f := range begun {
		_, err := c.RemoveForward(ctx, f.ID)
		failed = errors.Join(failed, err)
	}
	return failed
}

func printForwards(w io.Writer, list []daemon.ForwardObject) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range list {
		from, to := f.Listen, f.Peer.Name+" "+f.To
		switch f.Type {
		case daemon.ForwardRemote:
			from, to = f.Peer.Name+" "+f.Listen, f.To
		case daemon.ForwardUDP:
			from = "udp:" + from
		case daemon.ForwardSOCKS:
			to = f.Peer.Name + " SOCKS"
		}
		why := ""
		if f.Error != nil {
			why = f.Error.Error()
		}
		fmt.Fprintf(tw, "%s\t%s\t%s -> %s\t%d open of %d\tin %s out %s\t%s\n", f.ID, f.State, from, to, f.Open, f.Total, cli.Size(f.BytesIn), cli.Size(f.BytesOut), why)
	}
	tw.Flush()
}

// forwardRequests are the forwards that the flags ask for.
func forwardRequests(local, remote, udp, unix, socks []string) ([]daemon.ForwardRequest, error) {
	var reqs []daemon.ForwardRequest
	for _, spec := range local {
		listen, to, err := splitForward(spec)
		if err != nil {
			return nil, err
		}
		reqs = append(reqs, daemon.ForwardRequest{Kind: daemon.ForwardLocal, Listen: listen, To: to})
	}
	for _, spec := range remote {
		listen, to, err := splitForward(spec)
		if err != nil {
			return nil, err
		}
		reqs = append(reqs, daemon.ForwardRequest{Kind: daemon.ForwardRemote, Listen: listen, To: to})
	}
	for _, spec := range udp {
		listen, to, err := splitForward(spec)
		if err != nil {
			return nil, err
		}
		reqs = append(reqs, daemon.ForwardRequest{Kind: daemon.ForwardUDP, Listen: listen, To: to})
	}
	for _, spec := range unix {
		fields := colons(spec)
		n := len(fields) - 1
		if n > 1 && isPort(fields[n]) {
			n--
		}
		if n < 1 || fields[0] == "" {
			return nil, fmt.Errorf("--unix is PATH:SERVICE or PATH:HOST:PORT, not %q", spec)
		}
		reqs = append(reqs, daemon.ForwardRequest{
			Kind: daemon.ForwardLocal, Listen: "unix:" + strings.Join(fields[:n], ":"), To: strings.Join(fields[n:], ":"),
		})
	}
	for _, spec := range socks {
		reqs = append(reqs, daemon.ForwardRequest{Kind: daemon.ForwardSOCKS, Listen: spec})
	}
	if reqs == nil {
		return nil, errors.New("say what to forward: -L, -R, -U, --unix or --socks")
	}
	return reqs, nil
}

// splitForward splits [BIND:]PORT:DESTINATION, the destination a name, a port, or HOST:PORT.
func splitForward(spec string) (listen, to string, err error) {
	fields := colons(spec)
	n := 2 // BIND:PORT
	if isPort(fields[0]) {
		n = 1
	}
	if rest := len(fields) - n; rest < 1 || rest > 2 || rest == 2 && !isPort(fields[len(fields)-1]) || !isPort(fields[n-1]) {
		return "", "", fmt.Errorf("a forward is [BIND:]PORT:SERVICE or [BIND:]PORT:HOST:PORT, not %q", spec)
	}
	return strings.Join(fields[:n], ":"), strings.Join(fields[n:], ":"), nil
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// colons splits at colons outside of brackets.
func colons(s string) []string {
	var fields []string
	begin, inside := 0, false
	for i, c := range s {
		switch {
		case c == '[' || c == ']':
			inside = c == '['
		case c == ':' && !inside:
			fields = append(fields, s[begin:i])
			begin = i + 1
		}
	}
	return append(fields, s[begin:])
}
