package daemon

import (
	"context"
	"fmt"
	"time"
)

// Await follows a transfer until it is as wanted. It looks at every change of state and a hundred times a second.
func (d *Daemon) Await(ctx context.Context, id string, until func(Transfer) bool) (Transfer, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if e, err := d.table.find(id); err == nil {
			shown, changed := d.table.look(e)
			if until(shown) {
				return shown, nil
			}
			select {
			case <-changed:
				continue
			case <-tick.C:
				continue
			case <-ctx.Done():
				return shown, fmt.Errorf("daemon: transfer %s is %s after the time given: %w", id, shown.State, context.Cause(ctx))
			}
		}
		// The other side may know the transfer a moment before this one does.
		select {
		case <-tick.C:
		case <-ctx.Done():
			return Transfer{}, fmt.Errorf("daemon: no transfer %s: %w", id, context.Cause(ctx))
		}
	}
}
