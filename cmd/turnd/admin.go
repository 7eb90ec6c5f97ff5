package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"traverse.internal/internal/cli"
	"traverse.internal/turn"
)

// sessionList is the answer to GET /v1/sessions.
type sessionList struct {
	cli.Envelope
	Draining bool           `json:"draining"`
	Sessions []turn.Session `json:"sessions"`
}

// drainStarted is the answer to POST /v1/drain.
type drainStarted struct {
	cli.Envelope
	Sessions int           `json:"sessions"` // that are left
	Grace    time.Duration `json:"grace_ns"`
}

// killed is the answer to POST /v1/kill.
type killed struct {
	cli.Envelope
	ID string `json:"id"`
}

// adminSocket is where the socket is: the configured place or, with optional set, the usual one, where it may fail.
func (a *app) adminSocket(configured string) (path string, optional bool) {
	if dir := a.getenv("XDG_RUNTIME_DIR"); configured == "" && filepath.IsAbs(dir) {
		return filepath.Join(dir, "turnd.sock"), true
	}
	return configured, false
}

// listenAdmin opens the socket, 0600. A socket where nobody answers is left from a dead process, and replaced.
func listenAdmin(path string) (net.Listener, error) {
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

// serveAdmin answers on the socket until ctx ends.
func (o *operator) serveAdmin(l net.Listener) func(context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/sessions", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, sessionList{cli.Envelope{Schema: "turnd.v1", Kind: "sessions"}, o.srv.Stats().Draining, o.srv.Sessions()})
	})
	mux.HandleFunc("POST /v1/kill", func(w http.ResponseWriter, r *http.Request) {
		id := r.FormValue("id")
		if !o.srv.Kill(id) {
			refuse(w, noSession(id))
			return
		}
		o.log.Info("session killed", "id", id)
		answer(w, killed{cli.Envelope{Schema: "turnd.v1", Kind: "killed"}, id})
	})
	mux.HandleFunc("POST /v1/reload", func(w http.ResponseWriter, _ *http.Request) {
		done, err := o.reload()
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, done)
	})
	mux.HandleFunc("POST /v1/drain", func(w http.ResponseWriter, r *http.Request) {
		grace := o.grace()
		if text := r.FormValue("grace"); text != "" {
			var err error
			if grace, err = time.ParseDuration(text); err != nil || grace < 0 {
				refuse(w, cli.Errorf("E_USAGE", "%q is no grace", text))
				return
			}
		}
		answer(w, drainStarted{cli.Envelope{Schema: "turnd.v1", Kind: "drain"}, o.drain(grace), grace})
	})
	return func(ctx context.Context) error {
		srv := &http.Server{
			Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10,
		}
		ended := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(ended)
			grace, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if srv.Shutdown(grace) != nil {
				_ = srv.Close()
			}
		})
		err := srv.Serve(l)
		if !stop() {
			<-ended // answers may still be on their way
		}
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	}
}

func noSession(id string) error {
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
