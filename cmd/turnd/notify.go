package main

import (
	"context"
	"fmt"

	"traverse.internal/internal/sdnotify"
	"traverse.internal/turn"
)

// tell tells the service manager, where there is one, that everything listens, and until ctx ends how it goes.
func tell(ctx context.Context, n *sdnotify.Notifier, stats func() turn.Stats) {
	n.Serve(ctx, func() string {
		s := stats()
		allocations := 0
		for _, a := range s.Allocations {
			allocations += a.Count
		}
		return fmt.Sprintf("%d allocations, %d TCP connections of clients", allocations, s.Streams)
	})
}
