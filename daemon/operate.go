package daemon

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"traverse.internal/config"
	"traverse.internal/internal/relayadmin"
	"traverse.internal/turn"
)

// RelayOperation is how the embedded relay is operated while it runs.
type RelayOperation struct {
	Load func() (config.Config, turn.Config, error) // the configuration as it is now
	Conf config.Config                              // as it is at the start
	HUP  <-chan os.Signal                           // each reloads the relay [never]
	Told func() (over func())                       // tells the service manager of a reload [nobody]
}

// loadRelay is the relay's configuration as it is now, without the devices that are revoked.
func (d *Daemon) loadRelay() (config.Config, turn.Config, error) {
	conf, relay, err := d.cfg.Operate.Load()
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

// operatorParts are what runs beside the relay.
func (d *Daemon) operatorParts() []part {
	if d.operator == nil {
		return nil
	}
	parts := []part{{"relay's signals", func(ctx context.Context) error {
		d.operator.Follow(ctx, d.cfg.Operate.HUP)
		return nil
	}}}
	if d.admin != nil {
		parts = append(parts, part{"relay's administration", d.operator.ServeAdmin(d.admin)})
	}
	return parts
}
