package relayadmin

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
)

// reloadable are the keys that a reload applies. Whoever changes another one starts the server anew.
var reloadable = []string{
	"turnd.users_file", "turnd.secret_file", "turnd.devices", "turnd.devices_file", "turnd.allow_peer", "turnd.deny_peer", "turnd.own_relays", "turnd.alternate", "turnd.drain_grace",
}

// Reloads says whether a reload applies a key.
func Reloads(key string) bool {
	return slices.Contains(reloadable, key) || strings.HasPrefix(key, "turnd.limits.") ||
		strings.HasPrefix(key, "turnd.mint.") && key != "turnd.mint.listen"
}

// Operator does what operators ask a running server for, by signals and by the admin socket. Its exported fields are set
// before anything else is called.
type Operator struct {
	// Load reads the configuration as it is now.
	Load func() (config.Config, turn.Config, error)
	// Program is whose keys a reload compares: "turnd" or "node".
	Program string
	Server  *turn.Server
	Log     *slog.Logger
	Conf    config.Config // in force
	// Own are the addresses of metrics and administration: never relayed to. It is asked at every reload.
	Own func() []netip.AddrPort
	// Offload is how the program relays in the kernel; the zero value for a program that does not.
	Offload Offload
	// Prepare readies what is not the server's: log and metrics. It changes nothing yet; apply does, with the reload, and
	// cancel takes it back when the reload fails. It returns the keys that it sees to. nil: nothing is readied.
	Prepare func(from, to config.Config) (keys []string, apply, cancel func(), err error)
	// Announce tells the service manager that a reload begins; what it returns, that it is over. nil: nobody is told.
	Announce func() (over func())

	HUP, TERM <-chan struct{} // signals; nil where somebody else answers them

	mu    sync.Mutex // guards Conf and ends, and lets one reload be at a time
	ends  time.Time  // when draining ends whatever is left; zero: it does not drain
	once  sync.Once
	asked chan struct{}
}

// Reloaded is what a reload did.
type Reloaded struct {
	cli.Envelope
	Restart []string `json:"restart"` // keys that differ and need a restart
	Users   int      `json:"users"`
	Revoked uint64   `json:"revoked"` // permissions, channels and connections that the new rules took back
}

// Reload applies the configuration as it is now. A wrong one changes nothing.
func (o *Operator) Reload() (Reloaded, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.Announce != nil {
		defer o.Announce()()
	}
	out := Reloaded{Envelope: cli.Envelope{Schema: "turnd.v1", Kind: "reload"}, Restart: []string{}}
	before := o.Server.Stats().Revoked
	t, conf, more, err := o.apply()
	if err != nil {
		o.Log.Error("not reloaded: the present configuration stays", "error", err)
		return out, err
	}
	for _, k := range config.Keys(o.Program) {
		switch {
		case o.Conf.Value(k.Name) == conf.Value(k.Name) || Reloads(k.Name) || slices.Contains(more, k.Name):
		case o.Program != "turnd" && !strings.HasPrefix(k.Name, "turnd."): // the node's own
		default:
			out.Restart = append(out.Restart, k.Name)
		}
	}
	o.keep(conf, more)
	out.Users, out.Revoked = len(t.Users)+len(t.Keys), o.Server.Stats().Revoked-before
	o.Log.Info("reloaded", "users", out.Users, "revoked", out.Revoked)
	if len(out.Restart) > 0 {
		o.Log.Warn("some keys need a restart", "keys", strings.Join(out.Restart, " "))
	}
	return out, nil
}

// apply reads the configuration and puts it in force. Its lock is held.
func (o *Operator) apply() (t turn.Config, conf config.Config, more []string, err error) {
	if conf, t, err = o.Load(); err != nil {
		return t, conf, nil, err
	}
	apply, cancel := func() {}, func() {}
	if o.Prepare != nil {
		if more, apply, cancel, err = o.Prepare(o.Conf, conf); err != nil {
			return t, conf, nil, err
		}
	}
	if o.Own != nil {
		t.DenyEndpoints = append(t.DenyEndpoints, o.Own()...)
	}
	if _, err = o.Server.Reload(t); err != nil {
		cancel()
		return t, conf, nil, err
	}
	apply()
	return t, conf, more, nil
}

// keep remembers what of the configuration is in force. The keys that need a restart stay as they were, so that the next
// reload names them again. Its lock is held.
func (o *Operator) keep(conf config.Config, more []string) {
	o.Conf.Turnd.DrainGrace = conf.Turnd.DrainGrace
	if slices.Contains(more, "log.level") {
		o.Conf.Log = conf.Log
	}
	if slices.Contains(more, "metrics.listen") {
		o.Conf.Metrics = conf.Metrics
	}
}

// Drain lets no new session in and ends Serve with the last one, or after the grace. Asked again it may end earlier, not
// later. It returns how many sessions are left.
func (o *Operator) Drain(grace time.Duration) (left int) {
	o.Server.Drain()
	o.mu.Lock()
	if end := time.Now().Add(grace); o.ends.IsZero() || end.Before(o.ends) {
		o.ends = end
	}
	o.mu.Unlock()
	select {
	case o.wake() <- struct{}{}:
	default:
	}
	left = len(o.Server.Sessions())
	o.Log.Info("draining", "sessions", left, "grace", grace)
	return left
}

func (o *Operator) wake() chan struct{} {
	o.once.Do(func() { o.asked = make(chan struct{}, 1) })
	return o.asked
}

// Grace is what is configured.
func (o *Operator) Grace() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.Conf.Turnd.DrainGrace
}

// Serve answers signals until ctx ends, or a drain has.
func (o *Operator) Serve(ctx context.Context) error {
	var over <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-o.HUP:
			_, _ = o.Reload() // it is in the log
		case <-o.TERM:
			o.Drain(o.Grace())
		case <-o.wake():
			o.mu.Lock()
			over = time.After(time.Until(o.ends))
			o.mu.Unlock()
		case <-over:
			o.Log.Warn("ending with sessions left", "sessions", len(o.Server.Sessions()))
			return nil
		case <-o.Server.Drained():
			return nil
		}
	}
}

var errDraining = errors.New("draining")

// Ready says why no new work is taken.
func (o *Operator) Ready() error {
	if o.Server.Stats().Draining {
		return errDraining
	}
	return nil
}
