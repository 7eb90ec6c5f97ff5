package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"traverse.internal/config"
)

// followInterval is how often the files are looked at. Half a minute passes before Kubernetes itself has put a changed
// Secret there.
const followInterval = 5 * time.Second

// A stamp tells a changed file. Secrets are mounted behind links that are turned to another folder, so it is the file
// that the name leads to now.
type stamp struct {
	info     os.FileInfo
	modified time.Time
	size     int64
}

func (s stamp) same(other stamp) bool {
	if s.info == nil || other.info == nil {
		return s.info == nil && other.info == nil
	}
	return s.modified.Equal(other.modified) && s.size == other.size && os.SameFile(s.info, other.info)
}

func stampsOf(paths []string) []stamp {
	stamps := make([]stamp, len(paths))
	for i, path := range paths {
		if info, err := os.Stat(path); err == nil {
			stamps[i] = stamp{info, info.ModTime(), info.Size()}
		}
	}
	return stamps
}

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
	applied, before := stampsOf(paths), stampsOf(paths)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, changed := stampsOf(paths), ""
		for i := range now {
			if now[i].same(before[i]) && !now[i].same(applied[i]) {
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
