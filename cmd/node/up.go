package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"traverse.internal/config"
	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/configcmd"
	"traverse.internal/internal/logging"
)

// ownFlags are every command's, and no configuration flag of one.
var ownFlags = map[string]bool{"socket": true}

func (a *app) upCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "up", Short: "run the daemon in the foreground", Args: noArgs,
		Long: `Up runs the node until it is interrupted or terminated. One node runs per home.
Every flag is a key of the configuration file and of the environment too (docs/config.md); a flag wins over the environment, that over the file.`,
		Example: `  node up
  node up --turnd                                          # relay and endpoint in one process
  node up --relay 'turn:USER@HOST:3478?transport=tcp' --relay-password-file F
  node --home A up --private-dht --dht-listen 127.0.0.1:17001 --accept auto`,
	}
	configcmd.AddFlags(cmd, "node", ownFlags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		h, err := a.place()
		if err != nil {
			return err
		}
		file, err := a.configFile(h)
		if err != nil {
			return err
		}
		conf, err := config.Load(file, a.env, a.given(cmd))
		if err != nil {
			return wrongConfig(cmd, err)
		}
		cfg, err := daemon.FromConfig(h, conf)
		if err != nil {
			return err
		}
		log, loudness := logging.NewSwitched(a.stderr, conf.Log.Level, conf.Log.Format)
		cfg.Log = log
		for _, name := range conf.UnknownEnv {
			cfg.Log.Warn("an environment variable is no key's", "name", name)
		}
		operate, stop := a.operate(cmd, h, conf, loudness)
		defer stop()
		cfg.Operate = operate
		d, err := daemon.New(cfg)
		if err != nil {
			return err
		}
		if err := a.print(d.Status(), func(w io.Writer) {
			s := d.Status()
			fmt.Fprintf(w, "%s is up: DHT %s on %s, local API on %s\n", s.Device.Device, s.DHT.Mode, s.DHT.Listen, cfg.Home.Socket)
			for _, t := range s.Turnd {
				fmt.Fprintf(w, "relay on %s\n", t)
			}
			if s.Metrics != "" {
				fmt.Fprintf(w, "metrics on http://%s/metrics\n", s.Metrics)
			}
			if s.Dashboard != "" {
				fmt.Fprintf(w, "dashboard on %s\n", s.Dashboard)
			}
		}); err != nil {
			return err
		}
		return a.serve(cmd.Context(), d, cfg.Log, func() (*daemon.Daemon, error) {
			now, err := operate.Load()
			if err != nil {
				return nil, err
			}
			next, err := daemon.FromConfig(h, now)
			if err != nil {
				return nil, err
			}
			next.Log, next.Operate = cfg.Log, operate
			next.Operate.Conf = now
			return daemon.New(next)
		})
	}
	return cmd
}

// wrongConfig says what is wrong in the configuration; a flag's fault is the command line's.
func wrongConfig(cmd *cobra.Command, err error) error {
	var e *config.Error
	if errors.As(err, &e) && strings.HasPrefix(e.Where, "--") {
		return cli.Errorf("E_USAGE", "wrong flag %s", e.Where).Because(e.Err).Hint("%s -h", cmd.CommandPath())
	}
	return cli.Errorf("E_CONFIG", "the configuration is wrong").Because(err).Hint("every key and its values: docs/config.md")
}

// configFile is the file to read: the one that --config names, else the home's, which may be absent.
func (a *app) configFile(h daemon.Home) (string, error) {
	if a.config != "" {
		return a.config, nil
	}
	_, err := os.Stat(h.Config)
	switch {
	case err == nil:
		return h.Config, nil
	case errors.Is(err, os.ErrNotExist):
		return "", nil
	}
	return "", cli.Errorf("E_CONFIG", "cannot look at the configuration").Because(err)
}
