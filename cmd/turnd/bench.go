package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/core/stun"
	"traverse.internal/internal/cli"
	"traverse.internal/turn/load"
)

// benchFlags are what the command line of bench says.
type benchFlags struct {
	checkFlags // user, pass and passFile of these
	config     load.Config
}

func (a *app) benchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use: "bench turn:[USER@]HOST[:PORT]", Short: "load a server of yours, and say what comes through",
		Long: `Clients with an allocation and a channel each (--tcp: an RFC 6062 connection each) send messages through the server to peers, sockets of
this machine that send everything back. It prints messages a second, loss, and how long the way there and back took. The server has to
permit this machine's address as a peer, and its quotas have to allow the flows.

It is a load: ask nobody else's server. Bounded to 1000 flows, 4 minutes and 1400 bytes (--tcp: 64 KiB). Without --rate it sends as fast as
answers come, 256 messages under way. Up to some 50,000 messages a second it is the server that is measured, beyond it this program, too.

Exit codes: 0 measured, 9 not reachable, 10 credentials refused, 17 something else refused, 18 flows ended early.`,
		Example: `  turnd bench turn:user@192.0.2.1 --pass-file password.txt
  turnd bench turn:user@192.0.2.1 --pass env:TURN_PASSWORD --flows 100 --rate 20000 --size 1200 --duration 30s
  turnd bench turn:user@[2001:db8::1]:3478 --pass-file password.txt --tcp --size 16384 --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Errorf("E_USAGE", "one server to load, such as turn:user@192.0.2.1:3478").Hint("turnd bench -h")
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.user, "user", "", "user name, unless the URL has it")
	flags.StringVar(&f.pass, "pass", "", "password, or env:NAME; every user of this machine can read it from the process list")
	flags.StringVar(&f.passFile, "pass-file", "", "file with the password in one line, 0600")
	flags.DurationVar(&f.config.Duration, "duration", 10*time.Second, "how long, 4m at most")
	flags.IntVar(&f.config.Rate, "rate", 0, "messages a second, all flows together; 0: as many as come back")
	flags.IntVar(&f.config.Size, "size", 100, "bytes of a message, 8 to 1400")
	flags.IntVar(&f.config.Flows, "flows", 1, "clients, 1000 at most")
	flags.BoolVar(&f.config.TCP, "tcp", false, "connections over TCP (RFC 6062) instead of channels over UDP")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		config, err := a.benchConfig(cmd.Context(), args[0], f)
		if err != nil {
			return err
		}
		return a.bench(cmd.Context(), config)
	}
	return cmd
}

// benchConfig reads URL and flags.
func (a *app) benchConfig(ctx context.Context, url string, f benchFlags) (load.Config, error) {
	wrong := usageOf("bench")
	c := f.config
	server, err := a.serverOf(url, f.checkFlags, wrong, func(s server) string {
		switch {
		case s.tls:
			return "only turn: can be loaded, over UDP or with --tcp over TCP"
		case s.transport == "tcp" && !c.TCP:
			return "over TCP there are only the connections of --tcp"
		}
		return ""
	})
	if err != nil {
		return c, err
	}
	c.User, c.Password = server.user, server.password
	at, err := resolve(ctx, server.host)
	if err != nil {
		return c, server.notFound(err)
	}
	c.Server = netip.AddrPortFrom(at, server.portFor("udp"))
	if err := c.Check(); err != nil {
		return c, wrong("%v", err)
	}
	return c, nil
}

// benched is what is printed with --json.
type benched struct {
	cli.Envelope
	Server    netip.AddrPort `json:"server"`
	Transport string         `json:"transport"`
	load.Report
}

func (a *app) bench(ctx context.Context, c load.Config) error {
	report, err := load.Run(ctx, c)
	if err != nil {
		return explainLoad(ctx, c, err)
	}
	transport := "udp"
	if c.TCP {
		transport = "tcp"
	}
	if a.json {
		err = json.NewEncoder(a.stdout).Encode(benched{cli.Envelope{Schema: "turnd.v1", Kind: "bench"}, c.Server, transport, report})
	} else {
		err = printLoad(a, c, transport, report)
	}
	switch {
	case err != nil:
		return err
	case report.FailedFlows > 0:
		return cli.Errorf("E_PARTIAL", "%d of %d flows ended early", report.FailedFlows, report.Flows).Because(errors.New(report.FirstFlowError)).
			Hint("the server's log and its metrics")
	case ctx.Err() != nil:
		return &cli.Error{Exit: cli.ExitInterrupted}
	}
	return nil
}

func printLoad(a *app, c load.Config, transport string, r load.Report) error {
	asked := "as many as came back"
	if c.Rate > 0 {
		asked = fmt.Sprintf("%d a second", c.Rate)
	}
	l := r.LatencyMS
	_, err := fmt.Fprintf(a.stdout, `%s  %v: %d flows, %d bytes, %s, %.1f s (set up in %.2f s)
%-12s %.0f messages a second there and back, %.2f Mbit/s each way
%-12s %d of %d (%.3f %%)
%-12s p50 %.2f, p90 %.2f, p99 %.2f, p99.9 %.2f, max %.2f ms there and back
`, transport, c.Server, r.Flows, r.Size, asked, r.Seconds, r.Setup,
		"throughput", r.PerSecond, r.BitsPerSecond/1e6,
		"lost", r.Lost, r.Sent, 100*r.Loss,
		"latency", l.P50, l.P90, l.P99, l.P999, l.Max)
	if err == nil && r.NotKept {
		_, err = fmt.Fprintf(a.stdout, "%-12s this machine sent %.0f messages a second, fewer than were asked\n", "not kept", float64(r.Sent)/r.Seconds)
	}
	return err
}

// explainLoad says what failed, why, and what to try.
func explainLoad(ctx context.Context, c load.Config, err error) error {
	var e *load.Error
	switch {
	case ctx.Err() != nil:
		return &cli.Error{Exit: cli.ExitInterrupted}
	case !errors.As(err, &e):
		return cli.Errorf("E_UNEXPECTED", "%v", err)
	case e.Code == 0:
		return cli.Errorf("E_NO_PATH", "the server at %v does not answer", c.Server).Because(err).Hint("turnd check, which says more")
	case e.Code == stun.CodeUnauthenticated:
		return cli.Errorf("E_AUTH", "the server at %v refuses the user %q", c.Server, c.User).Because(err).Hint("name and password")
	case e.Code == stun.CodeForbidden:
		return cli.Errorf("E_RELAY_REFUSED", "the server at %v does not permit this machine as a peer", c.Server).Because(err).
			Hint("its address in turnd.allow_peer, or another machine")
	}
	return cli.Errorf("E_RELAY_REFUSED", "the server at %v refuses", c.Server).Because(err).Hint("its quotas (max_allocations_per_user, max_new_peers_per_user), or fewer --flows")
}
