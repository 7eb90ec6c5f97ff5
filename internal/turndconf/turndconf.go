// Package turndconf makes the TURN server's configuration of the [turnd] section, for both programs alike.
package turndconf

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"traverse.internal/config"
	"traverse.internal/internal/cli"
	"traverse.internal/turn"
	"traverse.internal/turn/alloc"
)

// Build reads the users file and fills in what the section leaves open. Its errors are *cli.Error.
func Build(conf config.Config) (turn.Config, error) {
	c := conf.Turnd
	out := turn.Config{
		ListenUDP: c.ListenUDP, ListenTCP: c.ListenTCP, Realm: c.Realm,
		ListenTLS: c.ListenTLS, ListenDTLS: c.ListenDTLS, CertFile: c.Cert, KeyFile: c.Key, ProxyFrom: c.ProxyFrom,
		RelayIP4: c.RelayIP4, RelayIP6: c.RelayIP6, AdvertisedIP4: c.ExternalIP4, AdvertisedIP6: c.ExternalIP6,
		PortMin: c.PortRange.First, PortMax: c.PortRange.Last,
		AllowPeers: c.AllowPeer, DenyPeers: c.DenyPeer, OwnRelays: c.OwnRelays,
		StrictChannels: c.Strict, NoUDPRelays: c.NoUDPRelays, NoTCPRelays: !c.TCPRelay, OtherUDP: c.OtherUDP, Push: c.Push == "users", Mobility: c.Mobility, MobilityGrace: c.MobilityGrace, Alternates: c.Alternate,
	}
	if c.RelayMode == "shared" {
		out.RelayMode = turn.RelayShared
	}
	l := c.Limits
	out.StrangerRate = l.Strangers
	out.Limits = alloc.Limits{
		Allocations: l.Allocations, PerUser: l.PerUser, PerSource: l.PerIP,
		UserPermissions: l.UserPermissions, SourcePermissions: l.IPPermissions,
		UserChannels: l.UserChannels, SourceChannels: l.IPChannels,
		UserPeers: l.UserPeers, SourcePeers: l.IPPeers,
		UserRate: int64(l.UserRate), SourceRate: int64(l.IPRate), Rate: int64(l.Rate),
	}
	if at, err := netip.ParseAddrPort(conf.Metrics.Listen); err == nil {
		out.DenyEndpoints = append(out.DenyEndpoints, at) // no relay reaches the administration
	}
	if c.UsersFile != "" {
		users, err := readUsers(c.UsersFile)
		if err == nil {
			out.Users = users.Passwords
			out.Keys, err = users.forRealm(c.Realm)
		}
		if err != nil {
			return turn.Config{}, cli.Errorf("E_CONFIG", "cannot use the users file %s", c.UsersFile).Because(err).
				Hint("turnd user add, or one name:password a line, mode 0600")
		}
	}
	ids, err := devices(c)
	if err != nil {
		return turn.Config{}, cli.Errorf("E_CONFIG", "cannot use turnd.devices or the devices file").Because(err).Hint("ids as node id prints them")
	}
	out.Devices = ids
	if c.Secret != "" {
		secrets, err := ReadSecrets(c.Secret)
		if err != nil {
			return turn.Config{}, cli.Errorf("E_CONFIG", "cannot use the secrets in %s", c.Secret).Because(err).Hint("one secret a line, mode 0600")
		}
		out.Secrets = secrets
	}
	if c.FleetKey != "" {
		if out.FleetKeys, err = ReadSecrets(c.FleetKey); err != nil {
			return turn.Config{}, cli.Errorf("E_CONFIG", "cannot use the fleet keys in %s", c.FleetKey).Because(err).
				Hint("one key a line, mode 0600, such as: (umask 077; openssl rand -base64 32 >fleet-key)")
		}
	}
	if !c.RelayIP4.IsValid() && !c.RelayIP6.IsValid() {
		listen := slices.Concat(c.ListenUDP, c.ListenTCP, c.ListenTLS, c.ListenDTLS)
		out.RelayIP4, out.RelayIP6 = relayAddrs(listen, interfaceAddrs)
		if !out.RelayIP4.IsValid() && !out.RelayIP6.IsValid() {
			return turn.Config{}, cli.Errorf("E_CONFIG", "there is no address to relay from").
				Because(errors.New("neither the listen addresses nor the interfaces have one")).Hint("name it: --relay-ip4 ADDRESS or --relay-ip6 ADDRESS")
		}
	}
	return out, nil
}

// What a server needs descriptors for, beside allocations: turn.Config's 12,000 TCP connections of clients and as many to
// peers, 2 × 48 of pooled pipes, 32 connections of metrics, and listeners.
const descriptors = 12_000 + 12_000 + 2*48 + 32 + 72

// Descriptors is how many the limits of the configuration may take. Allocations have a socket each, or share their ports.
func Descriptors(conf config.Config) uint64 {
	need := uint64(descriptors)
	if conf.Turnd.RelayMode != "shared" {
		need += uint64(conf.Turnd.Limits.Allocations)
	}
	return need
}

// relayAddrs chooses where to relay from when nothing is said: the first address of each family that is listened on, or, under a
// wildcard, the first that an interface has. A server on loopback alone relays from loopback alone.
func relayAddrs(listen []netip.AddrPort, interfaces func() []netip.Addr) (ip4, ip6 netip.Addr) {
	wild4, wild6 := false, false
	take := func(a netip.Addr) {
		switch {
		case a.Is4() && !ip4.IsValid():
			ip4 = a
		case a.Is6() && !ip6.IsValid():
			ip6 = a
		}
	}
	for _, l := range listen {
		switch a := l.Addr().Unmap(); {
		case !a.IsValid():
			wild4, wild6 = true, true
		case a.IsUnspecified():
			wild4, wild6 = wild4 || a.Is4(), wild6 || a.Is6()
		default:
			take(a)
		}
	}
	if wild4 || wild6 {
		for _, a := range interfaces() {
			if a.Is4() && wild4 || a.Is6() && wild6 {
				take(a)
			}
		}
	}
	return ip4, ip6
}

// interfaceAddrs are the addresses of this machine that others can reach.
func interfaceAddrs() []netip.Addr {
	var addrs []netip.Addr
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().IsGlobalUnicast() {
			addrs = append(addrs, p.Addr().Unmap())
		}
	}
	return addrs
}
