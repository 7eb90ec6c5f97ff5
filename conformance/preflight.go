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

// preflight asks whether there is a server at each address, and whether it knows the user.
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
				if r := c.ask(stun.MethodAllocate, udpRelay); r.came && r.code == stun.CodeUnauthenticated {
					refused = r
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
