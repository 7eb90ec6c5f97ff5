// Package httpserve runs an HTTP server until a context ends.
package httpserve

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Until calls serve, which is one of srv's own Serve functions, and returns when that has and every answer is out: after ctx
// has ended, what is under way has the grace to finish, and the rest is cut off. It is nil then, else why serve broke. No
// goroutine of its own is left.
func Until(ctx context.Context, srv *http.Server, grace time.Duration, serve func() error) error {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		down, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		if srv.Shutdown(down) != nil {
			_ = srv.Close()
		}
	})
	err := serve()
	if !stop() {
		<-closed // Serve returns at once; answers may still be on their way
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
