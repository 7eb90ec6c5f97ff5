package daemon

import (
	"errors"

	"traverse.internal/internal/cli"
	"traverse.internal/metrics"
)

// openMetrics opens the /metrics endpoint, where one is wanted.
func (d *Daemon) openMetrics() error {
	if d.cfg.Metrics == "" {
		return nil
	}
	src := metrics.Sources{
		Program:    "node",
		WebConfig:  d.cfg.WebConfig,
		Transfers:  d.counters.Stats,
		Signalling: d.signaler.Stats,
		DHT:        d.dht.Stats,
		Manager:    d.manager.Stats,
		ICE:        d.endpoint.Stats,
		Woken:      d.woken,
		Account: func() metrics.Account {
			own, ok := d.contacts.Own()
			if !ok {
				return metrics.Account{}
			}
			return metrics.Account{Devices: len(own.list.Devices), Expires: own.list.Expires}
		},
	}
	if d.push != nil {
		src.Push = d.push.Stats
	}
	if d.neighbors.Route != nil {
		src.LAN = d.neighbors.Stats
	}
	if d.turnd != nil {
		src.Turnd = d.turnd.Stats
	}
	srv, err := metrics.Listen(d.cfg.Metrics, src)
	if errors.Is(err, metrics.ErrWebConfig) {
		return cli.Errorf("E_CONFIG", "the file of metrics.web_config cannot be used").Because(err).
			Hint("mend the file, or run without --metrics-web-config: /metrics is then plain HTTP for everybody who reaches it")
	}
	if err != nil {
		return explainListen(err, "metrics", d.cfg.Metrics)
	}
	d.metrics = srv
	d.undo(func() { _ = srv.Close() })
	return nil
}
