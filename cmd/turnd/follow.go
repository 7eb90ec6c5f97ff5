package main

import (
	"context"
	"log/slog"
	"time"

	"traverse.internal/config"
	"traverse.internal/internal/filestamp"
)

// followInterval is how often the files are looked at. Half a minute passes before Kubernetes itself has put a changed
// Secret there.
const followInterval = 5 * time.Second

// followed are the files of the configuration whose content a reload applies; certificates are followed anyway.
func followed(file string, conf config.Config) []string {
	var paths []string
	for _, path := range []string{file, conf.Turnd.UsersFile, conf.Turnd.DevicesFile, conf.Turnd.Secret, conf.Turnd.FleetKey, conf.Turnd.Mint.TokenFile} {
		if path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// follow asks for a reload, as a signal would, when one of the files has changed and is still the same a look later, so
// that none is read while it is written. It returns when ctx ends.
func follow(ctx context.Context, paths []string, interval time.Duration, reload chan<- struct{}, log *slog.Logger) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	applied, before := filestamp.All(paths...), filestamp.All(paths...)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, changed := filestamp.All(paths...), ""
		for i := range now {
			if now[i].Same(before[i]) && !now[i].Same(applied[i]) {
				changed, applied[i] = paths[i], now[i]
			}
		}
		before = now
		if changed == "" {
			continue
		}
		log.Info("a file has changed", "file", changed)
		select {
		case reload <- struct{}{}:
		default: // one is under way already
		}
	}
}
