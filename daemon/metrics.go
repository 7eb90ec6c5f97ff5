package daemon

import "traverse.internal/metrics"

// openMetrics opens the /metrics endpoint, where one is wanted.
func (d *Daemon) openMetrics() error {
	if d.cfg.Metrics == "" {
		return nil
	}
	src := metrics.Sources{
		Program:    "node",
		Transfers:  d.counters.Stats,
		Signalling: d.signaler.Stats,
		DHT:        d.dht.Stats,
		Manager:    d.manager.Stats,
		ICE:        d.endpoint.Stats,
	}
	if d.turnd != nil {
		src.Turnd = d.turnd.Stats
	}
	srv, err := metrics.Listen(d.cfg.Metrics, src)
	if err != nil {
		return explainListen(err, "metrics", d.cfg.Metrics)
	}
	d.metrics = srv
	d.undo(func() { _ = srv.Close() })
	return nil
}
