package conformance

import (
	"context"
	"errors"
	"fmt"

	"traverse.internal/core/stun"
)

// Errors of a run that would say nothing about the server.
var (
	ErrUnreachable = errors.New("conformance: the server does not answer")
	ErrCredentials = errors.New("conformance: the server refuses the credentials")
)

// preflight asks whether there is a server at each address, whether it knows the user, and whether the suite's peers are
// permitted.
func preflight(ctx context.Context, config *Config) error {
	for _, server := range config.Servers {
		answered := false
		for _, tcp := range []bool{false, true} {
			if config.Secure && !tcp || config.Datagrams && tcp {
				continue
			}
			p := &probe{ctx: ctx, config: config, server: server, tcp: tcp}
			var refused reply
			status, detail := p.try(func(p *probe) {
				c := p.dial()
				if r := c.binding(); !r.came {
					p.skipf("%v", r)
				}
				answered = true
				r := c.ask(stun.MethodAllocate, udpRelay)
				switch {
				case r.came && r.code == stun.CodeUnauthenticated:
					refused = r
				case r.ok():
					peer := p.peerFor(c.relayed(r))
					r = c.ask(stun.MethodChannelBind, withChannel(stun.MinChannel), withPeer(peer.addr))
					config.noPeers = config.noPeers || r.came && r.code == stun.CodeForbidden
				}
			})
			switch {
			case refused.came:
				return fmt.Errorf("%w: %s: %v", ErrCredentials, p.where(), refused)
			case status == Fail:
				return fmt.Errorf("conformance: %s: %s", p.where(), detail)
			}
		}
		if !answered {
			return fmt.Errorf("%w: %v", ErrUnreachable, server)
		}
	}
	return nil
}
