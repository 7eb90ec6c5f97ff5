package daemon

import (
	"errors"
	"slices"
	"strings"
	"time"

	"traverse.internal/config"
	"traverse.internal/core/ice"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/relayadmin"
	"traverse.internal/signalling/relay"
)

// rules are what a reload changes while they are in use.
type rules struct {
	accept  Accept
	minFree int64
	relays  []RelayConfig
	stun    []string
	grace   time.Duration // of transfers when the node is told to end
}

func rulesOf(c Config) *rules { return &rules{c.Accept, c.MinFree, c.Relays, c.STUN, c.DrainGrace} }

// reloadable are the keys that a reload applies, beside those of the relay inside. Whoever changes another one starts the node
// anew.
var reloadable = []string{
	"log.level", "log.format", "accept.default", "transfer.min_free", "relay.url", "relay.password", "relay.password_file", "path.stun", "node.drain_grace",
}

// Reloads says whether a reload applies a key, by its name in the configuration.
func Reloads(key string) bool { return slices.Contains(reloadable, key) || relayadmin.Reloads(key) }

// Reloaded is what a reload did.
type Reloaded struct {
	cli.Envelope
	Applied []string             `json:"applied"` // keys that differed, in force now; relay.password where a secret did
	Restart []string             `json:"restart"` // keys that differ and need a restart
	Relay   *relayadmin.Reloaded `json:"relay,omitempty"`
}

// Reload applies the configuration and the secrets as they are now, without ending anything: sessions and transfers go on, and
// the next attempt at a path asks the relays that are named now. A wrong configuration changes nothing.
func (d *Daemon) Reload() (Reloaded, error) {
	done, err := d.reload()
	switch {
	case err != nil:
		d.log.Error("not reloaded: the present configuration stays", "error", err)
	case len(done.Restart) > 0:
		d.log.Warn("some keys need a restart", "keys", strings.Join(done.Restart, " "))
		fallthrough
	default:
		d.log.Info("reloaded", "applied", strings.Join(done.Applied, " "))
	}
	return done, err
}

func (d *Daemon) reload() (Reloaded, error) {
	out := Reloaded{Envelope: envelope("reload"), Applied: []string{}, Restart: []string{}}
	if d.cfg.Operate == nil {
		return out, cli.Errorf("E_CONFIG", "this node has no configuration to read again").Because(errors.New("it was made by another program")).Hint("start it by node up")
	}
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if d.operator == nil && d.cfg.Operate.Told != nil { // else the relay's reload tells
		defer d.cfg.Operate.Told()()
	}
	conf, err := d.cfg.Operate.Load()
	if err != nil {
		return out, err
	}
	cfg, err := FromConfig(d.cfg.Home, conf)
	if err != nil {
		return out, err
	}
	cfg = cfg.withDefaults()
	relays := make([]ice.Relay, len(cfg.Relays))
	for i, r := range cfg.Relays {
		relays[i] = r.forICE(d.device)
	}
	if err := ice.CheckRelays(relays); err != nil {
		return out, wrongConfig(err)
	}
	push := pushRelaysOf(cfg.Relays)
	if err := relay.Check(push); d.push != nil && err != nil {
		return out, wrongPush(err)
	}
	if d.operator != nil { // the only one that can still fail
		inside, err := d.operator.Reload()
		if err != nil {
			return out, err
		}
		out.Relay = &inside
	}
	d.endpoint.SetServers(relays, stunServers(cfg.STUN, relays))
	if !slices.Equal(cfg.Relays, d.rules.Load().relays) {
		if d.push != nil {
			d.push.SetRelays(push)
		}
		out.Applied = append(out.Applied, "relay.password")
	}
	d.rules.Store(rulesOf(cfg))
	if d.cfg.Operate.Log != nil {
		d.cfg.Operate.Log(conf.Log.Level, conf.Log.Format)
	}
	d.compare(conf, &out)
	return out, nil
}

// compare says of every key that differs whether it is in force now, and remembers what is.
func (d *Daemon) compare(conf config.Config, out *Reloaded) {
	was := &d.conf
	url := was.Value("relay.url") != conf.Value("relay.url")
	for _, k := range config.Keys("node") {
		switch {
		case was.Value(k.Name) == conf.Value(k.Name):
		case strings.HasPrefix(k.Name, "turnd.") && k.Name != "turnd.enabled": // the relay's
		case slices.Contains(reloadable, k.Name):
			out.Applied = append(out.Applied, k.Name)
		default:
			out.Restart = append(out.Restart, k.Name)
		}
	}
	if out.Relay != nil {
		for _, key := range out.Relay.Restart {
			if !slices.Contains(out.Restart, key) {
				out.Restart = append(out.Restart, key)
			}
		}
	}
	if url { // and not the password alone
		out.Applied = slices.DeleteFunc(out.Applied, func(k string) bool { return k == "relay.password" })
	}
	slices.Sort(out.Applied)
	out.Applied = slices.Compact(out.Applied)
	was.Log, was.Accept, was.Transfer.MinFree, was.Relays, was.Path.STUN, was.Node.DrainGrace = conf.Log, conf.Accept, conf.Transfer.MinFree, conf.Relays, conf.Path.STUN, conf.Node.DrainGrace
}

// ConfigInForce is what the node runs with, flags included.
type ConfigInForce struct {
	cli.Envelope
	Settings []config.Setting `json:"settings"`
}

// ConfigInForce lists the keys of the configuration as they are after the last reload.
func (d *Daemon) ConfigInForce() ConfigInForce {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	return ConfigInForce{envelope("config"), d.conf.Settings("node")}
}
