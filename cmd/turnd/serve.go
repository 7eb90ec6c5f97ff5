package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/config"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/configcmd"
	"traverse.internal/internal/logging"
	"traverse.internal/internal/relayadmin"
	"traverse.internal/internal/sdnotify"
	"traverse.internal/internal/turndconf"
	"traverse.internal/metrics"
	"traverse.internal/turn"
	"traverse.internal/turn/mint"
)

func (a *app) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run", Short: "serve until terminated", Args: noArgs,
		Long: `Without any configuration it serves the loopback addresses, for a user with a password of its own making, who may relay to
other relayed addresses of this server and to nobody else, and prints what a client needs.

Peers with special-purpose addresses (loopback, private, link-local, metadata services) and this machine's own are refused
unless --allow-peer names them. Every flag that is a key of the configuration file has a variable of the environment, too.`,
		Example: `  turnd run                                  # on loopback, with a user of its own making
  turnd run --users-file users.txt           # name:password a line, mode 0600
  turnd run --users-file users.txt --listen-udp 192.0.2.1:3478 --listen-tcp 192.0.2.1:3478 --relay-ip4 192.0.2.1
  turnd run --users-file users.txt --allow-peer 192.168.1.0/24 --metrics 127.0.0.1:9478`,
	}
	configcmd.AddFlags(cmd, "turnd", nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var made *credentials
		return a.serve(cmd.Context(), func() (config.Config, turn.Config, error) {
			conf, err := a.load(cmd)
			if err != nil {
				return conf, turn.Config{}, err
			}
			t, err := build(conf, &made)
			return conf, t, err
		}, &made)
	}
	return cmd
}

// load reads the configuration.
func (a *app) load(cmd *cobra.Command) (config.Config, error) {
	file, err := a.configFile()
	if err != nil {
		return config.Config{}, err
	}
	conf, err := config.Load(file, a.env, configcmd.Given(cmd, "turnd", nil))
	if err != nil {
		return conf, cli.Errorf("E_CONFIG", "the configuration is wrong").Because(err).Hint("turnd run -h")
	}
	return conf, nil
}

// getenv is os.Getenv on the run's environment.
func (a *app) getenv(name string) string {
	for i := len(a.env) - 1; i >= 0; i-- {
		if k, v, ok := strings.Cut(a.env[i], "="); ok && k == name {
			return v
		}
	}
	return ""
}

// build makes the server's configuration. When nothing was configured that is the one of loopback, with a user who is made
// the first time.
func build(conf config.Config, made **credentials) (turn.Config, error) {
	if unconfigured(conf) {
		t := loopback(made)
		t.StrictChannels = conf.Turnd.Strict
		return t, nil
	}
	return turndconf.Build(conf)
}

// serve runs the server, its metrics and its administration until ctx ends, one of them fails, or it has drained.
func (a *app) serve(ctx context.Context, load func() (config.Config, turn.Config, error), made **credentials) error {
	conf, t, err := load()
	if err != nil {
		return err
	}
	log, loudness := logging.NewSwitched(a.stderr, conf.Log.Level, conf.Log.Format)
	manager, err := sdnotify.Open(a.getenv)
	if err != nil {
		log.Warn("the service manager cannot be told", "error", err)
	}
	if t.Inherited, err = a.inherit(); err != nil {
		return cli.Errorf("E_CONFIG", "cannot use the sockets of the service manager").Because(err)
	}
	for _, name := range conf.UnknownEnv {
		log.Warn("an environment variable is no key's", "name", name)
	}
	switch {
	case len(t.Users)+len(t.Keys)+len(t.Secrets)+len(t.Devices) == 0:
		log.Warn("there are no users, so nobody gets a relay", "try", "--users-file FILE")
	case len(t.Users) > 0 && *made == nil:
		log.Warn("the users file has passwords in plain text", "users", len(t.Users), "try", "turnd user add, which stores keys")
	}
	warnOfDescriptors(conf, log)
	o := &relayadmin.Operator{
		Load: load, Program: "turnd", Log: log, Conf: conf, HUP: a.signals.hup, TERM: a.signals.term, Announce: manager.Reloading,
	}
	stats := func() turn.Stats { return o.Server.Stats() } // not called before Serve
	minter, err := listenMint(conf)
	if err != nil {
		return err
	}
	src := metrics.Sources{Program: "turnd", Turnd: stats, Ready: o.Ready}
	if minter != nil {
		defer minter.Close()
		src.Mint = minter.Stats
	}
	certificates, err := a.openACME(conf, log)
	if err != nil {
		return err
	}
	if certificates != nil {
		t.Certificates, src.ACME = certificates, certificates.Stats
	}
	page := &endpoint{sources: src, changed: make(chan struct{}, 1)}
	if err := page.open(conf.Metrics.Listen, conf.Metrics.WebConfig); err != nil {
		return explainListen(err, "--metrics")
	}
	page.use()
	defer page.close()
	board, err := openDashboard(conf, time.Now(), func() *turn.Server { return o.Server })
	if err != nil {
		return err
	}
	// No relay reaches the administration, whatever --allow-peer names.
	o.Own = func() []netip.AddrPort {
		return slices.Concat(page.addrs(), mintAddrs(minter), boardAddrs(board))
	}
	o.Prepare = prepare(page, loudness, minter)
	parts := []func(context.Context) error{o.Serve, page.Serve}
	ready := readiness{Envelope: cli.Envelope{Schema: "turnd.v1", Kind: "ready"}, Metrics: page.addr(), Credentials: *made}
	if minter != nil {
		parts = append(parts, minter.Serve)
		ready.Mint = minter.Addr().String()
	}
	if board != nil {
		defer board.Close()
		parts = append(parts, board.Serve)
		ready.Dashboard = board.URL()
	}
	if path, optional := a.adminSocket(conf.Turnd.AdminSocket); path != "" {
		l, err := relayadmin.Listen(path)
		switch {
		case err == nil:
			defer l.Close()
			parts = append(parts, o.ServeAdmin(l))
			ready.Admin = path
		case optional: // another turnd may have it
			log.Warn("there is no admin socket", "error", err)
		default:
			return explainListen(err, "--admin-socket")
		}
	}
	t.DenyEndpoints = append(t.DenyEndpoints, o.Own()...)
	kernel, status, err := openOffload(conf.Turnd.Offload, t, log)
	if err != nil {
		return err
	}
	if kernel != nil {
		defer kernel.Close()
		t.Offload = kernel
	}
	o.Offload = status
	relayadmin.SpareProcessor(a.getenv)
	if o.Server, err = turn.New(t); err != nil {
		return explainListen(err, "--listen-udp and --listen-tcp")
	}
	defer o.Server.Close()
	parts = append(parts, o.Server.Serve, func(ctx context.Context) error {
		tell(ctx, manager, o.Server.Stats)
		return nil
	})
	if certificates != nil {
		parts = append(parts, certificates.Serve) // the authority looks at listeners that are there
	}
	if conf.Turnd.FollowFiles {
		file, err := a.configFile()
		if err != nil {
			return err
		}
		parts = append(parts, func(ctx context.Context) error {
			return follow(ctx, followed(file, conf), followInterval, a.signals.hup, log)
		})
	}
	warnOfTime(o.Server.Stats(), time.Now(), log)
	a.store(manager, log, o.Server.Sockets())
	a.signals.serving.Store(true)
	ready.UDP, ready.TCP, ready.TLS = o.Server.UDPAddrs(), o.Server.TCPAddrs(), o.Server.TLSAddrs()
	ready.DTLS = o.Server.DTLSAddrs()
	if err := a.announce(ready); err != nil {
		return err
	}
	log.Info("serving", "udp", fmt.Sprint(ready.UDP), "tcp", fmt.Sprint(ready.TCP), "tls", fmt.Sprint(ready.TLS), "dtls", fmt.Sprint(ready.DTLS), "users", len(t.Users)+len(t.Keys))
	err = all(ctx, parts)
	log.Info("ended", "allocations", o.Server.Stats().AllocationsCreated)
	return err
}

// prepare readies what a reload changes beside the server: log and metrics.
func prepare(page *endpoint, loudness *logging.Switch, minter *mint.Server) func(from, to config.Config) ([]string, func(), func(), error) {
	return func(from, to config.Config) (keys []string, apply, cancel func(), err error) {
		keys, cancel = []string{"log.level", "log.format"}, func() {}
		moves := from.Metrics.Listen != to.Metrics.Listen
		if moves {
			if err := page.open(to.Metrics.Listen, to.Metrics.WebConfig); err != nil {
				return nil, nil, nil, explainListen(err, "--metrics")
			}
			keys, cancel = append(keys, "metrics.listen", "metrics.web_config"), page.drop
		}
		if err := reloadMint(minter, to); err != nil {
			cancel()
			return nil, nil, nil, err
		}
		return keys, func() {
			loudness.Set(to.Log.Level, to.Log.Format)
			if moves {
				page.use()
			}
		}, cancel, nil
	}
}

// all runs the parts until ctx ends or one of them does, waits for the others, and returns the first error.
func all(ctx context.Context, parts []func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(parts))
	for _, part := range parts {
		go func() { results <- part(ctx) }()
	}
	var first error
	for range parts {
		err := <-results
		cancel()
		if first == nil {
			first = err
		}
	}
	return first
}

// readiness is what is printed once everything listens.
type readiness struct {
	cli.Envelope
	UDP         []netip.AddrPort `json:"udp"`
	TCP         []netip.AddrPort `json:"tcp"`
	TLS         []netip.AddrPort `json:"tls,omitempty"`
	DTLS        []netip.AddrPort `json:"dtls,omitempty"`
	Metrics     string           `json:"metrics,omitempty"`
	Mint        string           `json:"mint,omitempty"`
	Admin       string           `json:"admin,omitempty"`
	Dashboard   string           `json:"dashboard,omitempty"`
	Credentials *credentials     `json:"credentials,omitempty"` // only those of its own making
}

func (a *app) announce(r readiness) error {
	if a.json {
		return json.NewEncoder(a.stdout).Encode(r)
	}
	listen := func(w io.Writer, transport string, addrs []netip.AddrPort) {
		for _, at := range addrs {
			fmt.Fprintf(w, "turn on %s %v\n", transport, at)
		}
	}
	listen(a.stdout, "udp", r.UDP)
	listen(a.stdout, "tcp", r.TCP)
	listen(a.stdout, "tls", r.TLS)
	listen(a.stdout, "dtls", r.DTLS)
	if r.Metrics != "" {
		fmt.Fprintf(a.stdout, "metrics on http://%s/metrics\n", r.Metrics)
	}
	if r.Mint != "" {
		fmt.Fprintf(a.stdout, "credentials on %s\n", r.Mint)
	}
	if r.Dashboard != "" {
		fmt.Fprintf(a.stdout, "dashboard on %s\n", r.Dashboard)
	}
	if r.Admin != "" {
		fmt.Fprintf(a.stdout, "admin on %s\n", r.Admin)
	}
	if r.Credentials != nil {
		at := append(r.UDP, r.TCP...)[0]
		fmt.Fprintf(a.stdout, "client turn:%s@%v password %s\n", r.Credentials.User, at, r.Credentials.Password)
		fmt.Fprintf(a.stderr, "try    turnd check turn:%s@%v --pass %s\n", r.Credentials.User, at, r.Credentials.Password)
	}
	return nil
}

// warnOfTime says what clients will refuse because of the time: a certificate out of its time, and with a clock that is behind, whatever else ends.
func warnOfTime(s turn.Stats, now time.Time, log *slog.Logger) {
	if built, behind := cli.ClockBehind(now); behind {
		log.Warn("the clock is wrong: this program was made later than now; time-limited credentials and certificates are taken for too long, or not yet",
			"now", now.UTC(), "made", built.UTC(), "try", "timedatectl set-ntp true")
	}
	switch {
	case s.CertExpires.IsZero():
	case now.After(s.CertExpires):
		log.Warn("the certificate has ended, or the clock is wrong: clients refuse it", "ended", s.CertExpires.UTC(), "now", now.UTC(), "try", "renew it; a reload is not needed, the files are followed")
	case now.Before(s.CertBegins):
		log.Warn("the certificate is not valid yet, or the clock is wrong: clients refuse it", "begins", s.CertBegins.UTC(), "now", now.UTC(), "try", "timedatectl; with a right clock wait, or get another")
	}
}

// explainListen tells why an address could not be listened on.
func explainListen(err error, flag string) error {
	switch {
	case errors.Is(err, metrics.ErrWebConfig):
		return cli.Errorf("E_CONFIG", "the file of metrics.web_config cannot be used").Because(err).
			Hint("mend the file, or run without --metrics-web-config: /metrics is then plain HTTP for everybody who reaches it")
	case errors.Is(err, turn.ErrCertificate):
		return cli.Errorf("E_CONFIG", "the certificate cannot be used").Because(err).
			Hint("PEM files that belong together and that this user can read: turnd.cert_file, turnd.key_file; turnd.service copies /etc/traverse/cert.pem and key.pem to /run/turnd")
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return cli.Errorf("E_CONFIG", "there are too few descriptors to begin with").Because(err).Hint("LimitNOFILE=65536 in the unit, or ulimit -n 65536")
	case errors.Is(err, syscall.EADDRINUSE):
		return cli.Errorf("E_PORT_IN_USE", "cannot listen").Because(err).Hint("end the other program, or choose another port with %s", flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return cli.Errorf("E_CONFIG", "cannot listen").Because(err).Hint("an address of this machine with %s", flag)
	case errors.Is(err, syscall.EACCES):
		return cli.Errorf("E_CONFIG", "cannot listen").Because(err).Hint("a port above 1023 with %s, or more rights", flag)
	}
	return cli.Errorf("E_CONFIG", "cannot start").Because(err).Hint("turnd run -h")
}
