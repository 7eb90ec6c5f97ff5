package daemon

import (
	"time"

	"traverse.internal/dht"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/signalling"
	"traverse.internal/signalling/lan"
)

// neighbors is signalling on the link; without a Route there is none.
type neighbors struct{ *lan.Route }

// openSignalling joins the DHT and puts the signaler on its routes.
func (d *Daemon) openSignalling(device *identity.Device) error {
	c := d.cfg.DHT
	mode := dht.Mainline
	if c.Private {
		mode = dht.Private
	}
	var err error
	if d.dht, err = dht.Listen(dht.Config{Mode: mode, Listen: c.Listen, Bootstrap: c.Bootstrap}); err != nil {
		return explainListen(err, "the DHT", c.Listen.String())
	}
	d.undo(func() { _ = d.dht.Close() })
	d.secrets = signalling.NewSecrets(device)
	if err := d.openPush(device); err != nil {
		return err
	}
	ways := dht.RouteDirect | dht.RouteSlot
	if c.SlotsOnly {
		ways = dht.RouteSlot
	}
	courier, err := dht.NewCourier(d.dht, dht.CourierConfig{
		Device: device, Peers: d.contacts.Devices, Secrets: d.secrets, Relays: d.pushRelays,
		// The callto box is for strangers, and only contacts are answered: polling it would be gets for nothing.
		Routes: ways, Mapped: d.mappedDHT,
		Moved: d.notices.hasMoved, Twin: d.sawTwin, Republish: c.republish,
	})
	if err != nil {
		return cli.Errorf("E_CONFIG", "cannot use the DHT").Because(err)
	}
	d.courier = courier
	routes := courier.Routes()
	beyond := routes[1:] // the direct way keeps its head start
	routes = routes[:1:1]
	if d.cfg.LAN && !c.Listen.Addr().IsLoopback() {
		link, err := lan.Open(lan.Config{Device: device, Peers: d.contacts.Devices, Secrets: d.secrets})
		if err != nil {
			return explainListen(err, "discovery on the LAN", "a UDP port")
		}
		d.neighbors.Route = link
		d.undo(func() { _ = link.Close() })
		routes = append(routes, link)
	}
	if d.push != nil {
		// The link and the relay have no head start over each other: the one costs the Internet nothing, the other the link.
		routes = append(routes, besideLAN(d.push, len(routes) > 1))
	}
	routes = append(routes, beyond...)
	d.signaler, err = signalling.New(signalling.Config{
		Device: device, Allowed: d.contacts.Knows, Peers: d.contacts.Devices, Routes: routes, Presence: courier, Noticed: d.noticed,
		Timeout: d.callTimeout(), Patience: d.cfg.Patience,
	})
	if err != nil {
		return cli.Errorf("E_CONFIG", "cannot start signalling").Because(err)
	}
	return nil
}

// besideLAN is the route through relays, which begins together with that of the link where there is one.
func besideLAN(push signalling.Route, lan bool) signalling.Route {
	if lan {
		return signalling.Beside(push)
	}
	return push
}

// relayRetries is how long the path of a call may take once there is an answer: whoever dials a relay tries for ten seconds.
const relayRetries = 10 * time.Second

// callTimeout is how long a call waits for its answer: as configured, or as long as the DHT's slots may need.
func (d *Daemon) callTimeout() time.Duration {
	if d.cfg.Timeout == 0 {
		return d.courier.CallTimeout()
	}
	return d.cfg.Timeout
}

// attemptTimeout is the time for one attempt to reach a device, from the call to the link.
func (d *Daemon) attemptTimeout() time.Duration { return d.callTimeout() + relayRetries }

// disconnect ends the sessions with the devices that a contact stands for.
func (d *Daemon) disconnect(c Contact) (sessions int) {
	for _, p := range c.meant(d.self) {
		sessions += d.manager.Disconnect(p.Device)
	}
	return sessions
}

// DHTStats are the counters of the DHT node.
func (d *Daemon) DHTStats() dht.Stats { return d.dht.Stats() }

func (d *Daemon) dhtStatus() DHTStatus {
	return DHTStatus{Mode: d.dht.Mode().String(), Listen: d.dht.Addr().String(), Nodes: int(d.dht.Stats().Nodes)}
}
