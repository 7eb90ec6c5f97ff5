package daemon

import (
	"errors"
	"fmt"
	"net/netip"

	"traverse.internal/config"
	"traverse.internal/connmgr"
	"traverse.internal/core/ice"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/secretfile"
	"traverse.internal/internal/turndconf"
)

// FromConfig makes a daemon's Config of what the file, the environment and the flags say. It reads the secret files.
func FromConfig(h Home, c config.Config) (Config, error) {
	out := Config{
		Home: h, Name: c.Node.Name,
		DHT:       DHTConfig{Private: c.DHT.Mode == "private", Listen: c.DHT.Listen, Bootstrap: c.DHT.Bootstrap},
		STUN:      c.Path.STUN,
		Timeout:   c.Signalling.Timeout,
		Patience:  c.Signalling.Patience,
		Accept:    Accept(c.Accept.Default),
		Downloads: c.Node.DownloadDir,
		MinFree:   int64(c.Transfer.MinFree),

		MaxParallel: c.Transfer.MaxParallel, DrainGrace: c.Node.DrainGrace,
		Metrics:   c.Metrics.Listen,
		WebConfig: c.Metrics.WebConfig,
		Dashboard: c.API.Dashboard,
	}
	if c.Origin("signalling.timeout").Layer == config.LayerDefault {
		out.Timeout = 0 // as the DHT needs it
	}
	out.LAN = c.Node.LAN
	out.NoPush = c.Node.Push == "off"
	out.NoUpgrade = !c.Path.Upgrade
	if out.Warm = c.Path.Warm; out.Warm == 0 {
		out.Warm = -1 // which is "not at all" to who has a default for 0
	}
	out.PortMapping = c.Node.PortMapping == "auto"
	if c.Identity.Dir != "" {
		out.Home.Identity = c.Identity.Dir
	}
	var err error
	if out.Policy, err = ice.ParsePolicy(c.Path.Policy); err != nil {
		return Config{}, wrongConfig(err)
	}
	if out.Addrs, out.Port, err = pathAddrs(c.Node.Listen); err != nil {
		return Config{}, wrongConfig(err)
	}
	out.Without, out.UDPFirst = ice.Ladder(c.Path.Order)
	out.RelayAfter, out.RelayUDP = c.Path.RelayAfter, c.Path.RelayUDP == "always"
	out.Repunch = connmgr.Repunch{First: c.Path.Repunch.First, Most: c.Path.Repunch.Most}
	out.TCPOnly = c.Path.Transports == "tcp-only"
	for _, r := range c.Relays {
		relay, err := relayOf(r)
		if err != nil {
			return Config{}, err
		}
		out.Relays = append(out.Relays, relay)
	}
	if c.Turnd.Enabled {
		turnd, err := turndconf.Build(c)
		if err != nil {
			return Config{}, err
		}
		out.Turnd = &turnd
	}
	return out, nil
}

func wrongConfig(err error) error {
	return cli.Errorf("E_CONFIG", "the configuration is wrong").Because(err)
}

// pathAddrs splits the listen addresses into those for candidates and their one port. The wildcard means all interfaces.
func pathAddrs(listen []netip.AddrPort) (addrs []netip.Addr, port uint16, err error) {
	for i, a := range listen {
		if i > 0 && a.Port() != port {
			return nil, 0, fmt.Errorf("node.listen: ports %d and %d, but all addresses share one", port, a.Port())
		}
		port = a.Port()
		if a.Addr().IsValid() && !a.Addr().IsUnspecified() {
			addrs = append(addrs, a.Addr())
		}
	}
	if len(addrs) > 0 && len(addrs) < len(listen) {
		return nil, 0, errors.New("node.listen: a wildcard beside single addresses")
	}
	return addrs, port, nil
}

// relayOf reads a relay's secret.
func relayOf(r config.Relay) (RelayConfig, error) {
	u, err := ParseRelayURL(r.URL)
	if err != nil {
		return RelayConfig{}, err
	}
	if r.PasswordFile == "" { // or both are empty, and the device's certificate counts
		return RelayConfig{u, r.Password}, nil
	}
	secret, err := secretfile.Line(r.PasswordFile)
	if err != nil {
		return RelayConfig{}, err
	}
	return RelayConfig{u, secret}, nil
}
