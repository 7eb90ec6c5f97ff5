package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"traverse.internal/internal/cli"
)

// lookAtHome is how often the daemon looks whether its home is still where it was.
const lookAtHome = 2 * time.Second

// watchHome ends with an error when the socket or the home was moved, deleted or replaced: nobody could find this node any more, and
// another that starts in its place would have the same identity.
func (d *Daemon) watchHome(ctx context.Context) error {
	paths := []string{d.cfg.Home.Socket, d.lock.file.Name()}
	mine := make([]os.FileInfo, len(paths))
	for i, path := range paths {
		var err error
		if mine[i], err = os.Lstat(path); err != nil {
			return homeGone(path, err)
		}
	}
	tick := time.NewTicker(lookAtHome)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		for i, path := range paths {
			now, err := os.Lstat(path)
			if err == nil && !os.SameFile(mine[i], now) {
				err = errors.New("another file is there")
			}
			if err != nil && d.ctx.Err() == nil {
				return homeGone(path, err)
			}
		}
	}
}

func homeGone(path string, err error) error {
	return cli.Errorf("E_LOCAL_IO", "the node's home is gone: it was moved or deleted").Because(fmt.Errorf("%s: %w", path, err)).
		Hint("put the home back and start again: node up")
}
