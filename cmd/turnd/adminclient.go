package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/internal/cli"
	"traverse.internal/internal/relayadmin"
	"traverse.internal/turn"
)

// maxAnswer of the socket: 10,000 sessions of a few hundred bytes, some with hundreds of peers.
const maxAnswer = 64 << 20

// admin is the other end of the admin socket.
type admin struct {
	app    *app
	socket string
}

// adminCommand makes a command that talks to a running server.
func (a *app) adminCommand(use, short string, args cobra.PositionalArgs, do func(context.Context, admin, []string) error) *cobra.Command {
	var socket string
	cmd := &cobra.Command{Use: use, Short: short, Args: args}
	cmd.Flags().StringVar(&socket, "admin-socket", "", "unix socket of the server (default: as its configuration says)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		conf, err := a.load(cmd)
		if err != nil {
			return err
		}
		path, _ := a.adminSocket(conf.Turnd.AdminSocket)
		if path == "" {
			return cli.Errorf("E_USAGE", "the server's admin socket is not known").Hint("--admin-socket PATH, or turnd.admin_socket")
		}
		return do(cmd.Context(), admin{a, path}, args)
	}
	return cmd
}

// adminSocket is where the socket is: the configured place or, with optional set, the usual one, where it may fail.
func (a *app) adminSocket(configured string) (path string, optional bool) {
	if dir := a.getenv("XDG_RUNTIME_DIR"); configured == "" && filepath.IsAbs(dir) {
		return filepath.Join(dir, "turnd.sock"), true
	}
	return configured, false
}

// ask sends a request and reads the answer.
func (c admin) ask(ctx context.Context, method, path string, values url.Values, out any) error {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", c.socket)
		},
	}}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://turnd"+path+"?"+values.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return cli.Errorf("E_NO_DAEMON", "no server answers on %s", c.socket).Because(err).Hint("is turnd running, and is this its --admin-socket?")
	}
	defer resp.Body.Close()
	body := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, maxAnswer))
	if resp.StatusCode == http.StatusOK {
		return body.Decode(out)
	}
	var wrong struct {
		Error *cli.Error `json:"error"`
	}
	if err := body.Decode(&wrong); err != nil || wrong.Error == nil {
		return cli.Errorf("E_UNEXPECTED", "the server answers %s", resp.Status)
	}
	return wrong.Error
}

func (a *app) reloadCommand() *cobra.Command {
	cmd := a.adminCommand("reload", "apply the configuration, users and rules anew, without dropping anything", noArgs,
		func(ctx context.Context, c admin, _ []string) error {
			var done relayadmin.Reloaded
			if err := c.ask(ctx, http.MethodPost, "/v1/reload", nil, &done); err != nil {
				return err
			}
			return a.print(done, func() {
				fmt.Fprintf(a.stdout, "reloaded: %d users, %d permissions taken back\n", done.Users, done.Revoked)
				if len(done.Restart) > 0 {
					fmt.Fprintf(a.stdout, "needs a restart: %s\n", strings.Join(done.Restart, ", "))
				}
			})
		})
	cmd.Example = "  turnd reload\n  kill -HUP $(pidof turnd)                   # the same"
	return cmd
}

func (a *app) drainCommand() *cobra.Command {
	var grace time.Duration
	var cmd *cobra.Command
	cmd = a.adminCommand("drain", "let no new session in, and end with the last one or after the grace", noArgs,
		func(ctx context.Context, c admin, _ []string) error {
			values := url.Values{}
			if cmd.Flag("grace").Changed {
				values.Set("grace", grace.String())
			}
			var started relayadmin.DrainStarted
			if err := c.ask(ctx, http.MethodPost, "/v1/drain", values, &started); err != nil {
				return err
			}
			return a.print(started, func() {
				fmt.Fprintf(a.stdout, "draining: %d sessions, ends within %v\n", started.Sessions, started.Grace)
			})
		})
	cmd.Flags().DurationVar(&grace, "grace", 0, "how long sessions may go on (default: turnd.drain_grace)")
	cmd.Example = "  turnd drain --grace 10m"
	return cmd
}

func (a *app) sessionsCommand() *cobra.Command {
	one := func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return cli.Errorf("E_USAGE", "%s takes one session, such as udp/192.0.2.1:50000", cmd.CommandPath()).Hint("turnd sessions ls")
		}
		return nil
	}
	cmd := &cobra.Command{Use: "sessions", Short: "list, show and end the sessions of a running server", Args: noArgs}
	cmd.Example = "  turnd sessions ls\n  turnd sessions show udp/192.0.2.1:50000\n  turnd sessions kill udp/192.0.2.1:50000"
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(
		a.adminCommand("ls", "list all", noArgs, func(ctx context.Context, c admin, _ []string) error {
			list, err := c.sessions(ctx)
			if err != nil {
				return err
			}
			return a.print(list, func() { a.printSessions(list.Sessions) })
		}),
		a.adminCommand("show ID", "show one with its peers", one, func(ctx context.Context, c admin, args []string) error {
			list, err := c.sessions(ctx)
			if err != nil {
				return err
			}
			for _, s := range list.Sessions {
				if s.ID == args[0] {
					object := struct {
						cli.Envelope
						Session turn.Session `json:"session"`
					}{cli.Envelope{Schema: "turnd.v1", Kind: "session"}, s}
					return a.print(object, func() { a.printSession(s) })
				}
			}
			return relayadmin.NoSession(args[0])
		}),
		a.adminCommand("kill ID", "end one; its client learns with its next request", one, func(ctx context.Context, c admin, args []string) error {
			var done relayadmin.Killed
			if err := c.ask(ctx, http.MethodPost, "/v1/kill", url.Values{"id": args}, &done); err != nil {
				return err
			}
			return a.print(done, func() { fmt.Fprintf(a.stdout, "killed %s\n", done.ID) })
		}),
	)
	return cmd
}

func (c admin) sessions(ctx context.Context) (list relayadmin.SessionList, err error) {
	return list, c.ask(ctx, http.MethodGet, "/v1/sessions", nil, &list)
}

func (a *app) printSessions(list []turn.Session) {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SESSION\tUSER\tCLIENT\tPEERS\tUP\tDOWN\tEXPIRES IN")
	for _, s := range list {
		fmt.Fprintf(w, "%s\t%s\t%s/%v\t%d\t%s\t%s\t%v\n", s.ID, s.User, s.Transport, s.Client, len(s.Permissions)+len(s.Connections),
			cli.Size(s.BytesUp), cli.Size(s.BytesDown), time.Until(s.Expires).Round(time.Second))
	}
	_ = w.Flush()
}

func (a *app) printSession(s turn.Session) {
	a.printSessions([]turn.Session{s})
	for _, p := range s.Permissions {
		fmt.Fprintf(a.stdout, "permits %s for %v\n", p.Peer, time.Until(p.Expires).Round(time.Second))
	}
	for _, p := range s.Channels {
		fmt.Fprintf(a.stdout, "channel %#x is %s for %v\n", p.Channel, p.Peer, time.Until(p.Expires).Round(time.Second))
	}
	for _, p := range s.Connections {
		fmt.Fprintf(a.stdout, "connected to %s%s\n", p.Peer, map[string]string{
			"splice": ", spliced in the kernel", "ktls": ", spliced in the kernel, TLS too", "copy": ", copied: TLS stays with the program",
		}[p.Mode])
	}
}

// topCommand shows who moves most, again and again.
func (a *app) topCommand() *cobra.Command {
	const interval = time.Second
	var count, rows int
	cmd := a.adminCommand("top", "show the sessions that move most, every second", noArgs,
		func(ctx context.Context, c admin, _ []string) error {
			ticker := time.NewTicker(interval)
			defer ticker.Stop()
			before := map[string]uint64{}
			for i := 0; ; i++ {
				list, err := c.sessions(ctx)
				if err != nil {
					return err
				}
				if err := a.print(list, func() { a.printTop(list, before, interval, rows) }); err != nil {
					return err
				}
				for _, s := range list.Sessions {
					before[s.ID] = s.BytesUp + s.BytesDown
				}
				if i+1 == count {
					return nil
				}
				select {
				case <-ctx.Done():
					return nil
				case <-ticker.C:
				}
			}
		})
	cmd.Flags().IntVarP(&count, "count", "n", 0, "how often; 0: until interrupted")
	cmd.Flags().IntVar(&rows, "rows", 20, "sessions to show")
	return cmd
}

// printTop orders by what moved since the last time.
func (a *app) printTop(list relayadmin.SessionList, before map[string]uint64, interval time.Duration, rows int) {
	rate := func(s turn.Session) uint64 {
		return (s.BytesUp + s.BytesDown - min(before[s.ID], s.BytesUp+s.BytesDown)) / uint64(interval/time.Second)
	}
	sorted := sortedBy(list.Sessions, rate)
	state := ""
	if list.Draining {
		state = ", draining"
	}
	fmt.Fprintf(a.stdout, "%d sessions%s\n", len(sorted), state)
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RATE\tSESSION\tUSER\tCLIENT")
	for _, s := range sorted[:min(rows, len(sorted))] {
		fmt.Fprintf(w, "%s/s\t%s\t%s\t%s/%v\n", cli.Size(rate(s)), s.ID, s.User, s.Transport, s.Client)
	}
	_ = w.Flush()
}
