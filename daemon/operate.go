package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"traverse.internal/config"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/relayadmin"
	"traverse.internal/internal/turndconf"
	"traverse.internal/turn"
)

// Operation is how a node is operated while it runs.
type Operation struct {
	Load func() (config.Config, error) // the configuration as it is now
	Conf config.Config                 // as it is at the start
	HUP  <-chan os.Signal              // each reloads [never]
	Told func() (over func())          // tells the service manager of a reload [nobody]
	Log  func(level, format string)    // puts the log's settings in force [they stay]
}

// loadRelay is the relay's configuration as it is now, without the devices that are revoked.
func (d *Daemon) loadRelay() (config.Config, turn.Config, error) {
	conf, err := d.cfg.Operate.Load()
	if err != nil {
		return conf, turn.Config{}, err
	}
	relay, err := turndconf.Build(conf)
	return conf, d.withoutRevoked(relay), err
}

// withoutRevoked takes the devices out that an account known here has revoked: their certificates open the relay no more.
func (d *Daemon) withoutRevoked(relay turn.Config) turn.Config {
	relay.Devices = slices.DeleteFunc(slices.Clone(relay.Devices), d.contacts.Revoked)
	return relay
}

// operateTurnd opens the relay's admin socket, which turnd's commands talk to: turnd.admin_socket, else turnd.sock beside the
// node's own. A node without one runs all the same.
func (d *Daemon) operateTurnd() {
	if d.turnd == nil || d.cfg.Operate == nil {
		return
	}
	d.operator = &relayadmin.Operator{
		Load: d.loadRelay, Program: "node", Server: d.turnd, Log: d.log, Conf: d.cfg.Operate.Conf, Announce: d.cfg.Operate.Told,
	}
	path := d.cfg.Operate.Conf.Turnd.AdminSocket
	if path == "" {
		path = filepath.Join(filepath.Dir(d.cfg.Home.Socket), "turnd.sock")
	}
	l, err := relayadmin.Listen(path)
	if err != nil {
		d.log.Warn("there is no admin socket of the relay", "error", err)
		return
	}
	d.admin = l
	d.undo(func() { l.Close() })
}

// operatorParts are what takes orders while the node runs.
func (d *Daemon) operatorParts() []part {
	var parts []part
	if d.cfg.Operate != nil {
		parts = append(parts, part{"signals", d.followSignals})
	}
	if d.admin != nil {
		parts = append(parts, part{"relay's administration", d.operator.ServeAdmin(d.admin)})
	}
	return parts
}

// followSignals reloads with each signal until ctx ends.
func (d *Daemon) followSignals(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.cfg.Operate.HUP:
			_, _ = d.Reload() // it is in the log
		}
	}
}

// Stopped says which node ends because somebody asked.
type Stopped struct {
	cli.Envelope
	Device PeerRef `json:"device"`
}

// Stop ends what Serve runs, and does not wait for that.
func (d *Daemon) Stop() Stopped {
	d.cancel()
	return Stopped{envelope("stop"), PeerRef{d.cfg.Name, d.self.String()}}
}

func (d *Daemon) openTurnd() error {
	if d.cfg.Turnd == nil {
		return nil
	}
	relayadmin.SpareProcessor(os.Getenv)
	srv, err := turn.New(d.withoutRevoked(*d.cfg.Turnd))
	if err != nil {
		return explainListen(err, "the embedded relay", fmt.Sprint(d.cfg.Turnd.ListenUDP, d.cfg.Turnd.ListenTCP))
	}
	d.turnd = srv
	d.undo(func() { _ = srv.Close() })
	return nil
}
