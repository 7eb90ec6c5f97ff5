// Package turndconf makes the TURN server's configuration of the [turnd] section, for both programs alike.
package turndconf

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"unicode/utf8"

	"traverse.internal/config"
	"traverse.internal/core/stun"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/secretfile"
	"traverse.internal/turn"
)

// maxUsers bounds the users file: 100,000 users of 100 bytes are 10 MiB.
const (
	maxUsers     = 100_000
	maxUserBytes = 10 << 20
)

// Build reads the users file and fills in what the section leaves open. Its errors are *cli.Error.
func Build(conf config.Config) (turn.Config, error) {
	c := conf.Turnd
	out := turn.Config{
		ListenUDP: c.ListenUDP, ListenTCP: c.ListenTCP, Realm: c.Realm,
		RelayIP4: c.RelayIP4, RelayIP6: c.RelayIP6,
		PortMin: c.PortRange.First, PortMax: c.PortRange.Last,
		AllowPeers: c.AllowPeer, DenyPeers: c.DenyPeer, OwnRelays: c.OwnRelays,
		StrictChannels: c.Strict, Alternates: c.Alternate,
	}
	out.Limits.Allocations, out.Limits.PerUser, out.Limits.PerSource = c.Limits.Allocations, c.Limits.PerUser, c.Limits.PerIP
	if at, err := netip.ParseAddrPort(conf.Metrics.Listen); err == nil {
		out.DenyEndpoints = append(out.DenyEndpoints, at) // no relay reaches the administration
	}
	if c.UsersFile != "" {
		users, err := readUsers(c.UsersFile)
		if err != nil {
			return turn.Config{}, cli.Errorf("E_CONFIG", "cannot use the users file %s", c.UsersFile).Because(err).
				Hint("one name:password a line, mode 0600")
		}
		out.Users = users
	}
	if !c.RelayIP4.IsValid() && !c.RelayIP6.IsValid() {
		listen := append(append([]netip.AddrPort{}, c.ListenUDP...), c.ListenTCP...)
		out.RelayIP4, out.RelayIP6 = relayAddrs(listen, interfaceAddrs)
		if !out.RelayIP4.IsValid() && !out.RelayIP6.IsValid() {
			return turn.Config{}, cli.Errorf("E_CONFIG", "there is no address to relay from").
				Because(errors.New("neither the listen addresses nor the interfaces have one")).Hint("name it: --relay-ip4 ADDRESS or --relay-ip6 ADDRESS")
		}
	}
	return out, nil
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

// readUsers reads name:password lines. Empty lines and lines that begin with # are skipped; a password may hold anything but a line's end.
func readUsers(path string) (map[string]string, error) {
	f, err := secretfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseUsers(f)
}

func parseUsers(r io.Reader) (map[string]string, error) {
	users := map[string]string{}
	limited := &io.LimitedReader{R: r, N: maxUserBytes + 1}
	lines := bufio.NewScanner(limited)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, password, ok := strings.Cut(line, ":")
		switch {
		case !ok || name == "" || password == "":
			return nil, fmt.Errorf("line %d is not name:password", n)
		case len(name) > stun.MaxUsername || !utf8.ValidString(line):
			return nil, fmt.Errorf("line %d: the name is longer than %d bytes, or not UTF-8", n, stun.MaxUsername)
		case users[name] != "":
			return nil, fmt.Errorf("line %d: the user %q is there twice", n, name)
		case len(users) == maxUsers:
			return nil, fmt.Errorf("it has more than %d users", maxUsers)
		}
		users[name] = password
	}
	if limited.N <= 0 {
		return nil, fmt.Errorf("it is larger than %d bytes", maxUserBytes)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return users, nil
}
