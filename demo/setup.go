package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"traverse.internal/core/ice"
	"traverse.internal/daemon"
	"traverse.internal/dht"
	"traverse.internal/turn"
)

// startDHT starts the one node that everybody else begins from.
func startDHT(_ context.Context, l *lab, s *Stage) (err error) {
	if l.seed, err = dht.Listen(dht.Config{Mode: dht.Private, Listen: netip.AddrPortFrom(loopback4, 0)}); err != nil {
		return err
	}
	s.Detail = "seed on " + l.seed.Addr().String()
	return nil
}

// startTurnd starts the relay on both loopback addresses.
func startTurnd(_ context.Context, l *lab, s *Stage) error {
	l.turnCfg = turn.Config{
		ListenUDP: []netip.AddrPort{netip.AddrPortFrom(loopback4, 0), netip.AddrPortFrom(loopback6, 0)},
		ListenTCP: []netip.AddrPort{netip.AddrPortFrom(loopback4, 0), netip.AddrPortFrom(loopback6, 0)},
		Realm:     "demo", Users: map[string]string{relayUser: rand.Text()},
		RelayIP4: loopback4, RelayIP6: loopback6,
		AllowPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	}
	if err := l.upTurnd(); err != nil {
		return err
	}
	// A relay that comes back must be found where it was.
	l.turnCfg.ListenUDP, l.turnCfg.ListenTCP = l.turnd.it.UDPAddrs(), l.turnd.it.TCPAddrs()
	s.Detail = fmt.Sprintf("TCP on %v", l.turnCfg.ListenTCP)
	return nil
}

// startDevices makes three homes that know each other, and starts them.
func startDevices(_ context.Context, l *lab, s *Stage) error {
	names := []string{"laptop", "phone", "desktop"}
	ids := map[string]string{}
	for _, name := range names {
		made, err := daemon.Init(daemon.HomeAt(l.deviceConfig(name).Home.State), name)
		if err != nil {
			return err
		}
		ids[name] = made.DeviceID
	}
	for _, name := range names {
		d, err := l.up(l.deviceConfig(name))
		if err != nil {
			return err
		}
		for _, other := range names {
			if other == name {
				continue
			}
			if _, err := d.AddContact(other, ids[other]); err != nil {
				return err
			}
		}
	}
	s.Detail = "laptop has IPv4 and IPv6, phone IPv4, desktop IPv6"
	return nil
}

// strangerSilence lets a device that nobody knows call the laptop: it must learn nothing, not even that somebody is there.
func strangerSilence(ctx context.Context, l *lab, s *Stage) error {
	cfg := l.deviceConfig("stranger")
	cfg.Addrs = families["laptop"]
	made, err := daemon.Init(cfg.Home, "stranger")
	if err != nil {
		return err
	}
	d, err := l.up(cfg)
	if err != nil {
		return err
	}
	defer d.down()
	if _, err := d.AddContact("laptop", l.devices["laptop"].ID().String()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 800*time.Millisecond)
	defer cancel()
	_, _, _, err = d.Ping(ctx, "laptop")
	if err == nil {
		return fmt.Errorf("the laptop answered the stranger %s", made.DeviceID)
	}
	for _, p := range l.devices["laptop"].Status().Peers {
		if p.State != "idle" {
			return errors.New("the laptop did something for the stranger")
		}
	}
	s.Detail = "0.8 s without an answer"
	delete(l.devices, "stranger")
	return nil
}

// udpOnly restarts the laptop without ways over TCP, as behind a filter: it offers none, dials none and takes none, and UDP carries in their stead
// (ICE, DTLS and a reliable stream of our own).
func udpOnly(_ context.Context, l *lab, s *Stage) error {
	s.Detail = "path.order = host-udp, srflx-udp: UDP has to carry"
	return l.again("laptop", func(c *daemon.Config) { c.Without, c.UDPFirst = ice.Ladder([]string{"host-udp", "srflx-udp"}) })
}

// relayOnly restarts the laptop with --path relay-only and the relay configured.
func relayOnly(_ context.Context, l *lab, s *Stage) error {
	s.Detail = "the others stay as they are: either side's setting rules"
	return l.again("laptop", l.relayOnlyConfig)
}

// stopAll ends the devices and the relay; an end that is not clean fails the stage.
func stopAll(_ context.Context, l *lab, _ *Stage) error {
	var errs []error
	for _, d := range l.allDevices() {
		errs = append(errs, d.down())
	}
	return errors.Join(append(errs, l.downTurnd())...)
}
