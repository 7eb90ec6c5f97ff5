package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"traverse.internal/daemon"
	"traverse.internal/internal/sdnotify"
)

// serve runs the daemon, and meanwhile tells the service manager, where there is one, how it goes.
func (a *app) serve(ctx context.Context, d *daemon.Daemon, log *slog.Logger) error {
	n, err := sdnotify.Open(a.getenv)
	if err != nil {
		log.Warn("the service manager cannot be told", "error", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var notifier sync.WaitGroup
	notifier.Go(func() { n.Serve(ctx, func() string { return condition(d.Status()) }) })
	defer notifier.Wait()
	defer cancel()
	return d.Serve(ctx)
}

// condition is a status in one line.
func condition(s daemon.Status) string {
	connected := 0
	for _, p := range s.Peers {
		if p.State == "connected" {
			connected++
		}
	}
	return fmt.Sprintf("%s: %d of %d contacts connected, %d DHT nodes, %d transfers", s.Device.Name, connected, len(s.Peers), s.DHT.Nodes, len(s.Transfers))
}
