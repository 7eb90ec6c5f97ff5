package ice

import (
	"fmt"
	"net"
	"slices"

	"traverse.internal/core/stun"
)

// servers are whom attempts ask for addresses. SetServers replaces them, never their contents.
type servers struct {
	relays []Relay
	stun   []string // host:port, over UDP
}

// serversOf are those of a Config: without STUN servers of its own, the relays without TLS are such.
func serversOf(c Config) *servers {
	s := &servers{c.Relays, c.STUN}
	if c.STUN == nil {
		for _, r := range c.Relays {
			if r.TLS == nil {
				s.stun = append(s.stun, r.Server)
			}
		}
	}
	return s
}

// CheckRelays names the first thing that is wrong with them.
func CheckRelays(relays []Relay) error {
	if len(relays) > maxServers {
		return fmt.Errorf("ice: %d relays, at most %d are used", len(relays), maxServers)
	}
	for _, r := range relays {
		if _, _, err := net.SplitHostPort(r.Server); err != nil {
			return fmt.Errorf("ice: relay %q is not host:port", r.Server)
		}
		if r.Username == "" || len(r.Username) > stun.MaxUsername {
			return fmt.Errorf("ice: relay %s needs a user name of at most %d bytes", r.Server, stun.MaxUsername)
		}
	}
	return nil
}

// SetServers has attempts that begin from now on ask these relays, which CheckRelays has passed, and these STUN servers, as in
// Config. Attempts under way and paths over the former ones go on.
func (e *Endpoint) SetServers(relays []Relay, stun []string) {
	c := e.cfg
	c.Relays, c.STUN = slices.Clone(relays), slices.Clone(stun)
	e.servers.Store(serversOf(c))
}
