package daemon

import (
	"fmt"
	"net"
	"net/netip"

	"traverse.internal/connmgr"
	"traverse.internal/core/ice"
	"traverse.internal/identity"
)

// openNetwork opens DHT, path endpoint and connection manager.
func (d *Daemon) openNetwork(device *identity.Device) error {
	if err := d.openSignalling(device); err != nil {
		return err
	}
	addrs, loopback := d.cfg.Addrs, d.cfg.DHT.Listen.Addr().IsLoopback()
	if addrs == nil && loopback {
		// A node whose DHT listens on loopback talks to this machine only: so do its paths.
		addrs = loopbackAddrs()
	}
	iceCfg := ice.Config{
		Policy: d.cfg.Policy, TCPOnly: d.cfg.TCPOnly, Addrs: addrs, Loopback: loopback, Port: d.cfg.Port,
		Without: d.cfg.Without, UDPFirst: d.cfg.UDPFirst, RelayUDP: d.cfg.RelayUDP, RelayAfter: d.cfg.RelayAfter,
	}
	for _, r := range d.cfg.Relays {
		iceCfg.Relays = append(iceCfg.Relays, r.forICE(device))
	}
	iceCfg.Mapped, iceCfg.MappedUDP, iceCfg.STUN = d.mapped, d.mappedUDP, stunServers(d.cfg.STUN, iceCfg.Relays)
	var err error
	if d.endpoint, err = ice.Listen(iceCfg); err != nil {
		return explainListen(err, "the node", fmt.Sprintf("TCP port %d", d.cfg.Port))
	}
	d.undo(func() { _ = d.endpoint.Close() })
	if d.cfg.PortMapping && !loopback && d.cfg.Policy != ice.RelayOnly {
		d.openMappings()
	}
	d.manager = connmgr.New(connmgr.Config{
		Device: device, Signaler: d.signaler, Paths: connmgr.ICE{Endpoint: d.endpoint},
		Allowed: d.mayConnect, Revoked: d.contacts.Revoked, Accounts: d.contacts.versionsFor, Greeted: d.greeted,
		AttemptTimeout: d.attemptTimeout(), Observe: d.observe, Mux: d.cfg.Mux, NoUpgrade: d.cfg.NoUpgrade, Warm: d.cfg.Warm, Repunch: d.cfg.Repunch, Policy: d.pathPolicy,
	})
	d.undo(func() { _ = d.manager.Close() })
	return nil
}

// loopbackAddrs are the loopback addresses that this machine has: a container may lack ::1.
func loopbackAddrs() []netip.Addr {
	var addrs []netip.Addr
	for _, a := range []string{"127.0.0.1", "::1"} {
		if l, err := net.Listen("tcp", net.JoinHostPort(a, "0")); err == nil {
			l.Close()
			addrs = append(addrs, netip.MustParseAddr(a))
		}
	}
	return addrs
}
