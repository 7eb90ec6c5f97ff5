package main

import (
	"fmt"
	"log/slog"
	"strings"

	"traverse.internal/internal/sdnotify"
	"traverse.internal/turn"
)

// stored is how names of sockets begin that an earlier run gave to the service manager.
const stored = "kept-"

// inherit takes the sockets that the service manager has for the program. One that is called tls or dtls listens over that;
// what the others are is seen.
func (a *app) inherit() ([]turn.Inherited, error) {
	sockets, err := sdnotify.Sockets(a.getenv)
	if err != nil {
		return nil, err
	}
	var out []turn.Inherited
	a.given = make(map[string]bool)
	for _, s := range sockets {
		a.given[s.ID] = a.given[s.ID] || !strings.HasPrefix(s.Name, stored)
	}
	for _, s := range sockets {
		if strings.HasPrefix(s.Name, stored) && a.given[s.ID] { // a second copy of what a unit gives anyway
			s.File.Close()
			a.kept = append(a.kept, s.Name)
			continue
		}
		transport, at, err := turn.Identify(s.File)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		own, kept := strings.CutPrefix(s.Name, stored)
		own, _, _ = strings.Cut(own, "-")
		switch {
		case transport == "tcp" && (own == "tls" || strings.HasSuffix(s.Name, "tls")):
			transport = "tls"
		case transport == "udp" && (own == "dtls" || strings.HasSuffix(s.Name, "dtls")):
			transport = "dtls"
		}
		out = append(out, turn.Inherited{Transport: transport, Addr: at, Kept: kept, File: s.File})
		if kept {
			a.kept = append(a.kept, s.Name)
		}
	}
	return out, nil
}

// store gives the service manager what the server listens on, so that the next run has the same sockets, and what waits in
// them is not lost. Those of a .socket unit it has itself.
func (a *app) store(n *sdnotify.Notifier, log *slog.Logger, sockets []turn.Socket) {
	used := map[string]bool{}
	for _, s := range sockets {
		if id, err := sdnotify.ID(s.Conn); err == nil && a.given[id] {
			continue
		}
		name, err := n.Store(stored+s.Transport, s.Conn)
		if err != nil {
			log.Warn("the service manager does not keep the sockets", "error", err)
			return
		}
		used[name] = true
	}
	for _, name := range a.kept { // of listeners that are gone
		if !used[name] {
			_ = n.Forget(name)
		}
	}
}
