package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"

	"traverse.internal/config"
	"traverse.internal/daemon"
	"traverse.internal/internal/logging"
	"traverse.internal/internal/sdnotify"
)

// operate says how the node is operated: SIGHUP reloads it, as the command does over its socket. The function that it
// returns ends that.
func (a *app) operate(cmd *cobra.Command, h daemon.Home, conf config.Config, loudness *logging.Switch) (*daemon.Operation, func()) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	o := &daemon.Operation{Conf: conf, HUP: hup, Log: loudness.Set, Load: func() (config.Config, error) {
		file, err := a.configFile(h) // it may have come or gone
		if err != nil {
			return config.Config{}, err
		}
		now, err := config.Load(file, a.env, a.given(cmd))
		if err != nil {
			err = wrongConfig(cmd, err)
		}
		return now, err
	}}
	if n, err := sdnotify.Open(a.getenv); err == nil {
		o.Told = n.Reloading
	}
	return o, func() { signal.Stop(hup) }
}

// serve runs the daemon, and meanwhile tells the service manager, where there is one, how it goes. One that has another key than it began with is followed by the
// next, which again makes; to the manager it is the same service.
func (a *app) serve(ctx context.Context, d *daemon.Daemon, log *slog.Logger, again func() (*daemon.Daemon, error)) error {
	n, err := sdnotify.Open(a.getenv)
	if err != nil {
		log.Warn("the service manager cannot be told", "error", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var notifier sync.WaitGroup
	var now atomic.Pointer[daemon.Daemon]
	now.Store(d)
	notifier.Go(func() { n.Serve(ctx, func() string { return condition(now.Load().Status()) }) })
	defer notifier.Wait()
	defer cancel()
	for {
		if err := d.Serve(ctx); !errors.Is(err, daemon.ErrAgain) {
			return err
		}
		if d, err = again(); err != nil {
			return err
		}
		now.Store(d)
	}
}

// condition is a status in one line.
func condition(s daemon.Status) string {
	connected := 0
	for _, p := range s.Peers {
		if p.State == "connected" {
			connected++
		}
	}
	if s.Draining != nil {
		return fmt.Sprintf("%s: draining, %d transfers to end", s.Device.Name, s.Draining.Transfers)
	}
	return fmt.Sprintf("%s: %d of %d contacts connected, %d DHT nodes, %d transfers", s.Device.Name, connected, len(s.Peers), s.DHT.Nodes, len(s.Transfers))
}
