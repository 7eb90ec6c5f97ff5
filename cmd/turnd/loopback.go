package main

import (
	"crypto/rand"
	"net"
	"net/netip"
	"slices"
	"strings"

	"traverse.internal/config"
	"traverse.internal/turn"
)

// credentials are a user of the program's own making.
type credentials struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

// aside are keys that say nothing of whom the server is for.
var aside = []string{"turnd.admin_socket", "turnd.drain_grace", "turnd.strict_channels", "turnd.offload"}

// unconfigured says that neither file, environment nor command line has anything about the server.
func unconfigured(conf config.Config) bool {
	for _, k := range config.Keys("turnd") {
		if strings.HasPrefix(k.Name, "turnd.") && !slices.Contains(aside, k.Name) && conf.Origin(k.Name).Layer != config.LayerDefault {
			return false
		}
	}
	return true
}

// loopback is the configuration of who has none: safe, and good for a try. Relayed addresses may be peers of each other,
// and nothing else may.
func loopback(kept **credentials) turn.Config {
	if *kept == nil {
		*kept = &credentials{User: "local", Password: rand.Text()}
	}
	made := *kept
	c := turn.Config{
		Realm: "home", Users: map[string]string{made.User: made.Password},
		OwnRelays: true,
	}
	for _, text := range []string{"127.0.0.1", "::1"} {
		ip := netip.MustParseAddr(text)
		if !exists(ip) {
			continue // a container may lack one
		}
		c.ListenUDP = append(c.ListenUDP, netip.AddrPortFrom(ip, 3478))
		if ip.Is4() {
			c.RelayIP4 = ip
		} else {
			c.RelayIP6 = ip
		}
	}
	c.ListenTCP = c.ListenUDP
	return c
}

// exists says whether this machine has the address.
func exists(ip netip.Addr) bool {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	if err != nil {
		return false
	}
	l.Close()
	return true
}
