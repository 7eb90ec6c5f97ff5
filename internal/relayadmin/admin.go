package relayadmin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"traverse.internal/internal/cli"
	"traverse.internal/internal/httpserve"
	"traverse.internal/turn"
)

// SessionList is the answer to GET /v1/sessions.
type SessionList struct {
	cli.Envelope
	Draining bool           `json:"draining"`
	Sessions []turn.Session `json:"sessions"`
}

// DrainStarted is the answer to POST /v1/drain.
type DrainStarted struct {
	cli.Envelope
	Sessions int           `json:"sessions"` // that are left
	Grace    time.Duration `json:"grace_ns"`
}

// Killed is the answer to POST /v1/kill.
type Killed struct {
	cli.Envelope
	ID string `json:"id"`
}

// Listen opens the socket, 0600. A socket where nobody answers is left from a dead process, and replaced.
func Listen(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("%s is there, and is no socket", path)
		}
		if c, err := net.Dial("unix", path); err == nil {
			_ = c.Close()
			return nil, fmt.Errorf("%s: %w", path, syscall.EADDRINUSE)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	return listenPrivately(path)
}

// ServeAdmin answers on the socket until ctx ends.
func (o *Operator) ServeAdmin(l net.Listener) func(context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/sessions", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, SessionList{cli.Envelope{Schema: "turnd.v1", Kind: "sessions"}, o.Server.Stats().Draining, o.Server.Sessions()})
	})
	mux.HandleFunc("GET /v1/offload", func(w http.ResponseWriter, _ *http.Request) { answer(w, o.offload()) })
	mux.HandleFunc("POST /v1/kill", func(w http.ResponseWriter, r *http.Request) {
		id := r.FormValue("id")
		if !o.Server.Kill(id) {
			refuse(w, NoSession(id))
			return
		}
		o.Log.Info("session killed", "id", id)
		answer(w, Killed{cli.Envelope{Schema: "turnd.v1", Kind: "killed"}, id})
	})
	mux.HandleFunc("POST /v1/reload", func(w http.ResponseWriter, _ *http.Request) {
		done, err := o.Reload()
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, done)
	})
	mux.HandleFunc("POST /v1/drain", func(w http.ResponseWriter, r *http.Request) {
		grace := o.Grace()
		if text := r.FormValue("grace"); text != "" {
			var err error
			if grace, err = time.ParseDuration(text); err != nil || grace < 0 {
				refuse(w, cli.Errorf("E_USAGE", "%q is no grace", text))
				return
			}
		}
		answer(w, DrainStarted{cli.Envelope{Schema: "turnd.v1", Kind: "drain"}, o.Drain(grace), grace})
	})
	return func(ctx context.Context) error {
		srv := &http.Server{
			Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10,
		}
		return httpserve.Until(ctx, srv, time.Second, func() error { return srv.Serve(l) })
	}
}

// NoSession is the error about a session that is not there.
func NoSession(id string) error {
	return cli.Errorf("E_USAGE", "there is no session %q", id).Hint("turnd sessions ls")
}

func answer(w http.ResponseWriter, object any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object)
}

func refuse(w http.ResponseWriter, err error) {
	var e *cli.Error
	if !errors.As(err, &e) {
		e = cli.Errorf("E_CONFIG", "%v", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnprocessableEntity)
	_ = json.NewEncoder(w).Encode(struct {
		Error *cli.Error `json:"error"`
	}{e})
}
