package main

import (
	"context"
	"fmt"
	"log/slog"

	"traverse.internal/internal/sdnotify"
	"traverse.internal/turn"
)

// notify tells the service manager, where there is one, that everything listens, and until ctx ends how it goes.
func (a *app) notify(ctx context.Context, log *slog.Logger, stats func() turn.Stats) {
	n, err := sdnotify.Open(a.getenv)
	if err != nil {
		log.Warn("the service manager cannot be told", "error", err)
	}
	n.Serve(ctx, func() string {
		s := stats()
		allocations := 0
		for _, a := range s.Allocations {
			allocations += a.Count
		}
		return fmt.Sprintf("%d allocations, %d TCP connections of clients", allocations, s.Streams)
	})
}
