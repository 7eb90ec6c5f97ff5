package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

func (a *app) apiCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "api", Short: "the local API, as programs use it", Args: noArgs,
		Long: "The daemon answers HTTP and JSON on its unix socket. `node api spec` is its OpenAPI document.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "spec", Short: "print the API's OpenAPI document", Args: noArgs, Example: "  node api spec > openapi.json",
			RunE: func(*cobra.Command, []string) error {
				_, err := fmt.Fprintf(a.stdout, "%s\n", daemon.Spec())
				return err
			},
		},
		a.rawCommand(http.MethodGet, "read a resource", "  node api get /v1/status\n  node api get '/v1/events?since=0'"),
		a.rawCommand(http.MethodPost, "post a JSON body, from stdin where it is -", `  node api post /v1/contacts '{"name":"bob","device":"…"}'`+"\n  node api post /v1/forwards - < forward.json"),
		a.rawCommand(http.MethodDelete, "delete a resource", "  node api delete /v1/services/web"),
	)
	return cmd
}

// rawCommand sends one request and prints the answer as it is.
func (a *app) rawCommand(method, short, example string) *cobra.Command {
	verb := strings.ToLower(method)
	cmd := &cobra.Command{Use: verb + " PATH", Short: short, Args: exactArgs(1), Example: example}
	if method == http.MethodPost {
		cmd.Use, cmd.Args = "post PATH [BODY]", rangeArgs(1, 2)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !strings.HasPrefix(args[0], "/") {
			return usage(cmd, fmt.Errorf("a path begins with /, not as %q", args[0]))
		}
		var body io.Reader
		if len(args) == 2 {
			if body = strings.NewReader(args[1]); args[1] == "-" {
				raw, err := io.ReadAll(a.stdin)
				if err != nil {
					return cli.Errorf("E_LOCAL_IO", "cannot read the body").Because(err)
				}
				body = bytes.NewReader(raw)
			}
		}
		return a.ask(cmd, 0, func(ctx context.Context, c *daemon.Client) error { return c.Raw(ctx, method, args[0], body, a.stdout) })
	}
	return cmd
}

func (a *app) watchCommand() *cobra.Command {
	var types, peer, since string
	cmd := &cobra.Command{
		Use: "watch", Short: "follow what happens: transfers, sessions, paths, contacts, services", Args: noArgs,
		Long: `Watch prints events as they happen, with --json one object a line. The daemon keeps the last 1024: --since begins behind the one of that number,
0 with the oldest. Who is too slow loses the oldest and is told how many.`,
		Example: "  node watch\n  node watch --type transfer --peer bob --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{}
			for key, value := range map[string]string{"type": types, "peer": peer, "since": since} {
				if value != "" {
					q.Set(key, value)
				}
			}
			return a.ask(cmd, 0, func(ctx context.Context, c *daemon.Client) error {
				lines := &eventLines{a: a}
				err := c.Raw(ctx, http.MethodGet, "/v1/events?"+q.Encode(), nil, lines)
				if err == nil {
					err = cli.Errorf("E_NO_DAEMON", "the node ended").Hint("start it again: node up")
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&types, "type", "", "only these, with commas between: transfer, session, path, contact, service, warning")
	cmd.Flags().StringVar(&peer, "peer", "", "only of this contact")
	cmd.Flags().StringVar(&since, "since", "", "begin behind the event of this number (default: from now on)")
	return cmd
}

// eventLines turns the API's stream of events into lines.
type eventLines struct {
	a    *app
	rest []byte
}

func (l *eventLines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		n, line, _ := bufio.ScanLines(l.rest, false)
		if n == 0 {
			return len(p), nil
		}
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			if err := l.show(data); err != nil {
				return 0, err
			}
		}
		l.rest = l.rest[n:]
	}
}

func (l *eventLines) show(data []byte) error {
	var e daemon.Event
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	return l.a.print(json.RawMessage(data), func(w io.Writer) {
		parts := []string{e.Time.Local().Format("15:04:05.000"), e.Type}
		if e.Peer != nil {
			parts = append(parts, e.Peer.Name)
		}
		if e.What != "" {
			parts = append(parts, e.What)
		}
		if t := e.Transfer; t != nil {
			parts = append(parts, t.ID, t.Direction, paintState(w, string(t.State)), t.File, cli.Size(t.Bytes)+" of "+cli.Size(t.Size))
		}
		if e.Path != nil {
			parts = append(parts, route(w, e.Path, ""))
		}
		if e.Lost > 0 {
			parts = append(parts, fmt.Sprintf("%d events", e.Lost))
		}
		if e.Error != "" {
			parts = append(parts, cli.OneLine(e.Error))
		}
		fmt.Fprintln(w, strings.Join(parts, "  "))
	})
}
