package main

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"traverse.internal/config"
	"traverse.internal/internal/cli"
	"traverse.internal/turn"
	"traverse.internal/turn/mint"
)

// reloadable are the keys that a reload applies. Whoever changes another one starts the server anew.
var reloadable = []string{
	"turnd.users_file", "turnd.secret_file", "turnd.allow_peer", "turnd.deny_peer", "turnd.own_relays", "turnd.alternate", "turnd.drain_grace",
}

// reloads says whether a reload applies a key.
func reloads(key string) bool {
	return slices.Contains(reloadable, key) || strings.HasPrefix(key, "turnd.limits.") ||
		strings.HasPrefix(key, "turnd.mint.") && key != "turnd.mint.listen"
}

// operator does what operators ask a running server for, by signals and by the admin socket.
type operator struct {
	load    func() (config.Config, turn.Config, error)
	srv     *turn.Server
	mint    *mint.Server // nil: none
	log     *slog.Logger
	signals *signals
	admin   []netip.AddrPort // never relayed to

	mu    sync.Mutex // guards the fields below, and lets one reload be at a time
	conf  config.Config
	ends  time.Time // when draining ends whatever is left; zero: it does not drain
	asked chan struct{}
}

// reloaded is what a reload did.
type reloaded struct {
	cli.Envelope
	Restart []string `json:"restart"` // keys that differ and need a restart
	Users   int      `json:"users"`
	Revoked uint64   `json:"revoked"` // permissions, channels and connections that the new rules took back
}

// reload applies the configuration as it is now. A wrong one changes nothing.
func (o *operator) reload() (reloaded, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := reloaded{Envelope: cli.Envelope{Schema: "turnd.v1", Kind: "reload"}, Restart: []string{}}
	before := o.srv.Stats().Revoked
	conf, t, err := o.load()
	if err == nil {
		t.DenyEndpoints = append(t.DenyEndpoints, o.admin...)
		err = o.reloadMint(conf)
	}
	if err == nil {
		_, err = o.srv.Reload(t)
	}
	if err != nil {
		o.log.Error("not reloaded: the present configuration stays", "error", err)
		return out, err
	}
	for _, k := range config.Keys("turnd") {
		if o.conf.Value(k.Name) != conf.Value(k.Name) && !reloads(k.Name) {
			out.Restart = append(out.Restart, k.Name)
		}
	}
	o.keep(conf)
	out.Users, out.Revoked = len(t.Users)+len(t.Keys), o.srv.Stats().Revoked-before
	o.log.Info("reloaded", "users", out.Users, "revoked", out.Revoked)
	if len(out.Restart) > 0 {
		o.log.Warn("some keys need a restart", "keys", strings.Join(out.Restart, " "))
	}
	return out, nil
}

// keep remembers what of the configuration is in force. The keys that need a restart stay as they were, so that the next
// reload names them again. Its lock is held.
func (o *operator) keep(conf config.Config) {
	o.conf.Turnd.DrainGrace = conf.Turnd.DrainGrace
}

// drain lets no new session in and ends with the last one, or after the grace. Asked again it may end earlier, not later.
func (o *operator) drain(grace time.Duration) (left int) {
	o.srv.Drain()
	o.mu.Lock()
	if end := time.Now().Add(grace); o.ends.IsZero() || end.Before(o.ends) {
		o.ends = end
	}
	o.mu.Unlock()
	select {
	case o.asked <- struct{}{}:
	default:
	}
	left = len(o.srv.Sessions())
	o.log.Info("draining", "sessions", left, "grace", grace)
	return left
}

// grace is what is configured.
func (o *operator) grace() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.conf.Turnd.DrainGrace
}

// Serve answers signals until ctx ends, or a drain has.
func (o *operator) Serve(ctx context.Context) error {
	var over <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-o.signals.hup:
			_, _ = o.reload() // it is in the log
		case <-o.signals.term:
			o.drain(o.grace())
		case <-o.asked:
			o.mu.Lock()
			over = time.After(time.Until(o.ends))
			o.mu.Unlock()
		case <-over:
			o.log.Warn("ending with sessions left", "sessions", len(o.srv.Sessions()))
			return nil
		case <-o.srv.Drained():
			return nil
		}
	}
}

var errDraining = errors.New("draining")

// ready says why no new work is taken.
func (o *operator) ready() error {
	if o.srv.Stats().Draining {
		return errDraining
	}
	return nil
}
