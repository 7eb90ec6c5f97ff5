package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/conformance"
	"traverse.internal/core/stun"
	"traverse.internal/internal/cli"
)

// conformanceFlags are what the command line of conformance says.
type conformanceFlags struct {
	checkFlags // user, pass and passFile of these
	peer       string
	otherPass  string
	config     conformance.Config
}

func (a *app) conformanceCommand() *cobra.Command {
	var f conformanceFlags
	cmd := &cobra.Command{
		Use: "conformance turn[s]:[USER@]HOST[:PORT]", Short: "ask a TURN server whether it does what the RFCs say",
		Long: `121 behaviours of RFC 8489, 8656 and 6062, each asked over the wire as a client would, over UDP and TCP and at the host's IPv4 and IPv6
address. Every one passes, fails (with what was expected and what came), or is skipped with what it would have needed: a second user,
more time, knowledge of the server's limits. Two cannot be seen from outside. turns: asks everything over TLS that is no matter of UDP, and turns:HOST?transport=udp
everything over DTLS that is no matter of streams. The server has to permit peers on this machine, where the suite opens its own.

It disturbs nothing but a small server: it makes some hundred allocations and gives them back.

Exit codes: 0 nothing failed, 9 not reachable, 10 credentials refused, 18 something failed.`,
		Example: `  turnd conformance turn:127.0.0.1:3478 --user user --pass-file password.txt
  turnd conformance turn:user@192.0.2.1 --pass env:TURN_PASSWORD --peer 192.0.2.7 --only 12,33
  turnd conformance turns:user@relay.example.org --pass-file password.txt --ca ca.pem
  turnd conformance turns:user@relay.example.org?transport=udp --pass-file password.txt --only 119
  turnd conformance turn:user@localhost --pass-file a.txt --other-user bert --other-pass env:BERT --long --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Errorf("E_USAGE", "one server to ask, such as turn:user@192.0.2.1:3478").Hint("turnd conformance -h")
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.user, "user", "", "user name, unless the URL has it")
	flags.StringVar(&f.pass, "pass", "", "password, or env:NAME; every user of this machine can read it from the process list")
	flags.StringVar(&f.passFile, "pass-file", "", "file with the password in its first line, 0600")
	flags.StringVar(&f.config.OtherUser, "other-user", "", "a second user, for what one may not do to another")
	flags.StringVar(&f.otherPass, "other-pass", "", "the second user's password, or env:NAME")
	flags.StringVar(&f.config.Realm, "realm", "", "the realm that the server has to have")
	flags.StringVar(&f.ca, "ca", "", "with turns: PEM file of the certificates to trust instead of the system's")
	flags.StringVar(&f.peer, "peer", "", "address of this machine for the suite's peers (default: the one that faces the server)")
	flags.IntSliceVar(&f.config.Only, "only", nil, "numbers of the behaviours to ask")
	flags.BoolVar(&f.config.Long, "long", false, "also what waits for an end: up to 11 minutes")
	flags.DurationVar(&f.config.NonceLifetime, "nonce-lifetime", 0, "how long the server's nonces are good, to see them end")
	flags.IntVar(&f.config.Quota, "quota", 0, "how many allocations a user may have, to see one more refused")
	flags.IntVar(&f.config.Capacity, "capacity", 0, "how many allocations the server can hold, to see one more refused")
	flags.DurationVar(&f.config.Wait, "timeout", 2*time.Second, "of one answer")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		config, err := a.conformanceConfig(cmd.Context(), args[0], f)
		if err != nil {
			return err
		}
		return a.conformance(cmd.Context(), config)
	}
	return cmd
}

// conformanceConfig reads URL and flags.
func (a *app) conformanceConfig(ctx context.Context, url string, f conformanceFlags) (conformance.Config, error) {
	wrong := usageOf("conformance")
	c := f.config
	server, err := a.serverOf(url, f.checkFlags, wrong, func(s server) string {
		if s.transport != "" && !s.tls {
			return "the suite asks over UDP and TCP, at the port of both"
		}
		return ""
	})
	if err != nil {
		return c, err
	}
	c.User, c.Password = server.user, server.password
	network := "udp"
	switch {
	case server.tls && server.transport == "udp":
		c.Datagrams, c.ServerName, network = true, server.host, "dtls"
	case server.tls:
		c.Secure, c.ServerName, network = true, server.host, "tls"
	}
	if c.Roots, err = readRoots(f.ca); err != nil {
		return c, wrong("--ca %s: %v", f.ca, err)
	}
	if c.OtherUser != "" {
		if c.OtherPassword, err = a.password(checkFlags{pass: f.otherPass}); err != nil {
			return c, err
		}
	}
	if f.peer != "" {
		if c.Peer, err = netip.ParseAddr(f.peer); err != nil {
			return c, wrong("--peer %q is no address", f.peer)
		}
	}
	ips, err := resolveBoth(ctx, server.host)
	if err != nil {
		return c, server.notFound(err)
	}
	for _, ip := range ips {
		c.Servers = append(c.Servers, netip.AddrPortFrom(ip, server.portFor(network)))
	}
	return c, nil
}

// resolveBoth returns the first address of each family.
func resolveBoth(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	var one []netip.Addr
	for _, ip := range all {
		if ip = ip.Unmap(); len(one) == 0 || len(one) == 1 && stun.FamilyOf(one[0]) != stun.FamilyOf(ip) {
			one = append(one, ip)
		}
	}
	return one, err
}

// conformance runs the suite and prints what it found.
func (a *app) conformance(ctx context.Context, config conformance.Config) error {
	report, err := conformance.Run(ctx, config)
	switch {
	case errors.Is(err, conformance.ErrUnreachable):
		return cli.Errorf("E_NO_PATH", "no TURN server answers").Because(err).Hint("turnd check, which says more")
	case errors.Is(err, conformance.ErrCredentials):
		return cli.Errorf("E_AUTH", "the server refuses the user %q", config.User).Because(err).Hint("name and password")
	case err != nil && ctx.Err() == nil:
		return cli.Errorf("E_USAGE", "the suite cannot run").Because(err).Hint("turnd conformance -h")
	}
	if a.json {
		err = json.NewEncoder(a.stdout).Encode(struct {
			cli.Envelope
			conformance.Report
		}{cli.Envelope{Schema: "turnd.v1", Kind: "conformance"}, report})
	} else {
		err = report.WriteText(a.stdout)
	}
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return &cli.Error{Exit: cli.ExitInterrupted}
	case report.Failed > 0:
		return &cli.Error{Exit: cli.ExitPartial} // told already
	}
	return nil
}
