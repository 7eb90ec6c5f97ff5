package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/core/stun"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/secretfile"
	"traverse.internal/internal/turndconf"
	"traverse.internal/turn"
	"traverse.internal/turn/probe"
)

// checkFlags are what the command line of check says.
type checkFlags struct {
	user, pass, passFile, secretFile, family, ca string
	udp, tcp, tls, dtls, noData, bindOnly        bool
	timeout                                      time.Duration
}

func (a *app) checkCommand() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use: "check turn:[USER@]HOST[:PORT]", Short: "act as a client and say what is wrong with a server",
		Long: `It takes a client's steps: bind, allocate for IPv4 and IPv6, permit, bind a channel, send data both ways from one relayed address to
another, and over TCP and TLS a peer connection (RFC 6062). Without --udp, --tcp, --tls or --dtls a turn: server is asked over UDP and TCP,
a turns: server over TLS, or over DTLS when it says ?transport=udp. Where policy does not let relayed addresses be peers, a socket of this machine is the other end.

Exit codes: 0 works, 9 not reachable, 10 credentials refused, 17 something else refused, 18 only one of the two families.`,
		Example: `  turnd check turn:user@192.0.2.1 --pass-file password.txt
  turnd check turn:[2001:db8::1]:3478 --user user --pass env:TURN_PASSWORD --tcp --family 6
  turnd check turns:relay.example --user user --pass-file password.txt --json
  turnd check turn:127.0.0.1 --bind-only                                     # a probe that needs no user
  turnd check turn:probe@127.0.0.1 --secret-file secret --no-data            # one that allocates`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Errorf("E_USAGE", "one server to check, such as turn:user@192.0.2.1:3478").Hint("turnd check -h")
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.user, "user", "", "user name, unless the URL has it")
	flags.StringVar(&f.pass, "pass", "", "password, or env:NAME; every user of this machine can read it from the process list")
	flags.StringVar(&f.passFile, "pass-file", "", "file with the password in one line, 0600")
	flags.StringVar(&f.secretFile, "secret-file", "", "instead of a password: the server's file of secrets, of whose first a credential for a minute is made")
	flags.StringVar(&f.family, "family", "both", "families of relayed addresses: 4, 6 or both")
	flags.StringVar(&f.ca, "ca", "", "PEM file of the certificates to trust instead of the system's")
	flags.BoolVar(&f.udp, "udp", false, "over UDP")
	flags.BoolVar(&f.tcp, "tcp", false, "over TCP")
	flags.BoolVar(&f.tls, "tls", false, "over TLS")
	flags.BoolVar(&f.dtls, "dtls", false, "over DTLS")
	flags.BoolVar(&f.noData, "no-data", false, "end after the allocations: for servers that permit none of the peers there are")
	flags.BoolVar(&f.bindOnly, "bind-only", false, "end after the answer to a Binding, which takes no user")
	flags.DurationVar(&f.timeout, "timeout", 5*time.Second, "of one answer")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		configs, err := a.probes(cmd.Context(), args[0], f)
		if err != nil {
			return err
		}
		return a.check(cmd.Context(), configs)
	}
	return cmd
}

// probes are what there is to do, one for each transport.
func (a *app) probes(ctx context.Context, url string, f checkFlags) ([]probe.Config, error) {
	wrong := func(format string, args ...any) error {
		return cli.Errorf("E_USAGE", format, args...).Hint("turnd check turn:user@192.0.2.1:3478 --pass-file FILE")
	}
	server, err := parseServer(url)
	if err != nil {
		return nil, wrong("%q is no server: %v", url, err)
	}
	base := probe.Config{User: server.user, ServerName: server.host, NoData: f.noData, Timeout: f.timeout}
	if f.user != "" {
		base.User = f.user
	}
	if !f.bindOnly {
		if base.User == "" {
			return nil, wrong("no user, in the URL or by --user")
		}
		if base.User, base.Password, err = a.credential(base.User, f); err != nil {
			return nil, err
		}
	}
	switch f.family {
	case "4":
		base.Families = []stun.Family{stun.FamilyIPv4}
	case "6":
		base.Families = []stun.Family{stun.FamilyIPv6}
	case "both":
		base.Families = []stun.Family{stun.FamilyIPv4, stun.FamilyIPv6}
	default:
		return nil, wrong("--family %q is not 4, 6 or both", f.family)
	}
	if f.bindOnly {
		base.Families = nil
	}
	if base.Roots, err = readRoots(f.ca); err != nil {
		return nil, wrong("--ca %s: %v", f.ca, err)
	}
	at, err := resolve(ctx, server.host)
	if err != nil {
		return nil, cli.Errorf("E_NO_PATH", "the server cannot be found").Because(err).Hint("check the name %q", server.host)
	}
	var configs []probe.Config
	for _, network := range server.networks(f) {
		c := base
		c.Network, c.Server = network, netip.AddrPortFrom(at, server.portFor(network))
		configs = append(configs, c)
	}
	return configs, nil
}

// readRoots reads the certificates to trust; nil: the system's.
func readRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("it has no certificates")
	}
	return roots, nil
}

// credential is the user's name and password, or one of a minute that is made of the server's own secret.
func (a *app) credential(user string, f checkFlags) (name, password string, err error) {
	if f.secretFile == "" {
		password, err = a.password(f)
		return user, password, err
	}
	if f.pass != "" || f.passFile != "" {
		return "", "", cli.Errorf("E_USAGE", "--secret-file stands instead of --pass and --pass-file").Hint("turnd check -h")
	}
	secrets, err := turndconf.ReadSecrets(f.secretFile)
	if err != nil {
		return "", "", cli.Errorf("E_CONFIG", "cannot use the secrets in %s", f.secretFile).Because(err).Hint("one secret a line, mode 0600")
	}
	name, password = turn.Mint(secrets[0], user, time.Now().Add(time.Minute))
	return name, password, nil
}

// password is the one that the flags name.
func (a *app) password(f checkFlags) (string, error) {
	name, isEnv := strings.CutPrefix(f.pass, "env:")
	switch {
	case f.pass != "" && f.passFile != "", f.pass == "" && f.passFile == "":
		return "", cli.Errorf("E_USAGE", "one of --pass, --pass-file and --secret-file is needed").Hint("turnd check -h")
	case isEnv && a.getenv(name) == "":
		return "", cli.Errorf("E_USAGE", "the variable %s of --pass is empty", name)
	case isEnv:
		return a.getenv(name), nil
	case f.pass != "":
		return f.pass, nil
	}
	return secretfile.Line(f.passFile)
}

// server is what a URL says: RFC 7065, with the user that our own URLs have.
type server struct {
	tls       bool
	user      string
	host      string
	port      uint16 // 0: the transport's
	transport string // "": not said
}

func parseServer(url string) (server, error) {
	var s server
	scheme, rest, ok := strings.Cut(url, ":")
	if s.tls = scheme == "turns"; !ok || scheme != "turn" && !s.tls {
		return s, errors.New("it does not begin with turn: or turns: as it should")
	}
	rest, query, _ := strings.Cut(rest, "?")
	switch transport, isTransport := strings.CutPrefix(query, "transport="); {
	case query == "":
	case isTransport && (transport == "udp" || transport == "tcp"):
		s.transport = transport
	default:
		return s, fmt.Errorf("%q is not transport=udp or transport=tcp", query)
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		s.user, rest = rest[:at], rest[at+1:]
	}
	s.host = strings.Trim(rest, "[]")
	if host, port, err := net.SplitHostPort(rest); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return s, fmt.Errorf("%q is no port", port)
		}
		s.host, s.port = host, uint16(n)
	}
	if s.host == "" || strings.ContainsAny(s.host, "/ ") {
		return s, errors.New("it has no host")
	}
	return s, nil
}

// networks are the transports to try.
func (s server) networks(f checkFlags) []string {
	var list []string
	for _, n := range []struct {
		name string
		on   bool
	}{{"udp", f.udp}, {"tcp", f.tcp}, {"tls", f.tls}, {"dtls", f.dtls}} {
		if n.on {
			list = append(list, n.name)
		}
	}
	switch {
	case len(list) > 0:
		return list
	case s.tls && s.transport == "udp":
		return []string{"dtls"}
	case s.tls:
		return []string{"tls"}
	case s.transport != "":
		return []string{s.transport}
	}
	return []string{"udp", "tcp"}
}

func (s server) portFor(network string) uint16 {
	switch {
	case s.port != 0:
		return s.port
	case network == "tls" || network == "dtls":
		return 5349
	}
	return stun.DefaultPort
}

func resolve(ctx context.Context, host string) (netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap(), nil
	}
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	return all[0].Unmap(), nil
}

// checked is what is printed with --json.
type checked struct {
	cli.Envelope
	OK     bool           `json:"ok"`
	Exit   int            `json:"exit"`
	Probes []probe.Report `json:"probes"`
	Error  *cli.Error     `json:"error,omitempty"`
}

// check probes over every transport until one fails, and tells.
func (a *app) check(ctx context.Context, configs []probe.Config) error {
	out := checked{Envelope: cli.Envelope{Schema: "turnd.v1", Kind: "check"}, Probes: []probe.Report{}}
	for _, c := range configs {
		report, err := probe.Run(ctx, c)
		out.Probes = append(out.Probes, report)
		if !a.json {
			a.printReport(report)
		}
		if err != nil {
			out.Error = explainProbe(c, err)
			break
		}
	}
	if out.Error == nil {
		out.Error = oneFamily(out.Probes)
	}
	if out.Error != nil {
		out.Exit = out.Error.Exit
	}
	out.OK = out.Error == nil
	if !a.json {
		if out.Error == nil {
			return nil
		}
		return out.Error
	}
	if err := json.NewEncoder(a.stdout).Encode(out); err != nil || out.OK {
		return err
	}
	return &cli.Error{Exit: out.Exit} // told already
}

// printReport writes a line for the server and for each family.
func (a *app) printReport(r probe.Report) {
	var keys []string
	lines := map[string][]string{}
	for _, s := range r.Steps {
		text := s.Name
		if !s.OK {
			text += " failed"
		} else if s.Detail != "" {
			text += " (" + s.Detail + ")"
		}
		if !slices.Contains(keys, s.Family) {
			keys = append(keys, s.Family)
		}
		lines[s.Family] = append(lines[s.Family], text)
	}
	for _, family := range keys {
		what := family
		if family == "" {
			what = r.Server.String()
		}
		fmt.Fprintf(a.stdout, "%s  %s: %s\n", r.Network, what, strings.Join(lines[family], ", "))
	}
}

// explainProbe says what failed, why, and what to try.
func explainProbe(c probe.Config, err error) *cli.Error {
	var e *probe.Error
	if !errors.As(err, &e) {
		return cli.Errorf("E_UNEXPECTED", "%v", err)
	}
	at := fmt.Sprintf("%s %v", c.Network, c.Server)
	switch {
	case e.Kind == probe.Unreachable && e.Step == "bind":
		return cli.Errorf("E_NO_PATH", "no TURN server answers on %s", at).Because(err).
			Hint("is it running, and does a firewall let %s port %d through?", c.Network, c.Server.Port())
	case e.Kind == probe.Unreachable:
		return cli.Errorf("E_NO_PATH", "the server on %s stopped answering", at).Because(err).Hint("its log and its metrics")
	case e.Kind == probe.NoData:
		return cli.Errorf("E_NO_PATH", "the server on %s grants everything, and relays nothing", at).Because(err).
			Hint("does a firewall let the relay ports (49152-65535, UDP and TCP) through, and is the relay address this machine's?")
	case e.Kind == probe.Auth && e.Code == 0:
		return cli.Errorf("E_AUTH", "the certificate of %s is not to be trusted", at).Because(err).Hint("the name in the URL, or --ca FILE")
	case e.Kind == probe.Auth:
		return cli.Errorf("E_AUTH", "the server on %s refuses the user %q", at, c.User).Because(err).
			Hint("name, password and, for time-limited ones, the clock")
	case e.Code == stun.CodeForbidden:
		return cli.Errorf("E_RELAY_REFUSED", "the server on %s permits no peer that there is to try", at).Because(err).
			Hint("--no-data, or a server with own_relays = true or this machine in allow_peer")
	case e.Code == stun.CodeAllocationQuotaReached, e.Code == stun.CodeInsufficientCapacity:
		return cli.Errorf("E_RELAY_REFUSED", "the server on %s is full, for this user or altogether", at).Because(err).
			Hint("its limits, and whether it drains")
	}
	return cli.Errorf("E_RELAY_REFUSED", "the server on %s refuses", at).Because(err).Hint("--family 4 or --family 6, if it is about a family")
}

// oneFamily says that something works and something is not there.
func oneFamily(reports []probe.Report) *cli.Error {
	for _, r := range reports {
		if missing := r.Missing(); len(missing) > 0 {
			return cli.Errorf("E_PARTIAL", "the server relays one family only").
				Because(fmt.Errorf("%s: %s got 440", r.Network, strings.Join(missing, ", "))).
				Hint("a relay address of that family in the server's configuration, or --family for the other")
		}
	}
	return nil
}
