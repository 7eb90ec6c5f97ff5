package turn

import (
	"fmt"
	"net/netip"

	"traverse.internal/core/stun"
)

// Bits of CHANGE-REQUEST: RFC 5780 §7.2.
const (
	changeAddress = 4
	changePort    = 2
)

// discovery are the four sockets of a shard that tell clients how their NAT behaves: RFC 5780. The first index is the
// address, the second the port, and 0 the main one.
type discovery struct{ at [2][2]*listener }

// firstUDP is the address that another one of its family goes with.
func (c Config) firstUDP(other netip.AddrPort) (netip.AddrPort, bool) {
	for _, a := range c.ListenUDP {
		if ip := a.Addr().Unmap(); ip.IsValid() && !ip.IsUnspecified() && ip.Is4() == other.Addr().Is4() {
			return netip.AddrPortFrom(ip, a.Port()), true
		}
	}
	return netip.AddrPort{}, false
}

func (c Config) checkOthers() error {
	families := make(map[bool]bool)
	for _, other := range c.OtherUDP {
		first, ok := c.firstUDP(other)
		switch {
		case !ok:
			return fmt.Errorf("turn: the other address %v needs a listener over udp at an address of its family, by name", other)
		case other.Addr().IsUnspecified() || first.Addr() == other.Addr() || first.Port() == other.Port() && first.Port() != 0:
			return fmt.Errorf("turn: the other address %v is not another address and another port than %v", other, first)
		case families[other.Addr().Is4()]:
			return fmt.Errorf("turn: %v is a second other address of its family", other)
		}
		families[other.Addr().Is4()] = true
	}
	return nil
}

// listenOthers opens the sockets at the other addresses, and has the four know each other.
func (s *Server) listenOthers() error {
	for _, other := range s.config.OtherUDP {
		first, _ := s.config.firstUDP(other)
		begin := 0
		for s.shards[0].listeners[begin].local.Addr() != first.Addr() {
			begin++
		}
		first = s.shards[0].listeners[begin].local // its port may have been any
		next := len(s.shards[0].listeners)
		if err := s.listenUDP("udp", other); err != nil {
			return err
		}
		other = s.shards[0].listeners[next].local
		for _, at := range []netip.AddrPort{netip.AddrPortFrom(first.Addr(), other.Port()), netip.AddrPortFrom(other.Addr(), first.Port())} {
			if err := s.listenUDP("udp", at); err != nil {
				return err
			}
		}
		for _, sh := range s.shards {
			l := sh.listeners
			d := &discovery{at: [2][2]*listener{{l[begin], l[next+1]}, {l[next+2], l[next]}}}
			for i, row := range d.at {
				for j, l := range row {
					l.discovery, l.corner = d, [2]int{i, j}
				}
			}
		}
	}
	return nil
}

// understoodHere is understood, with what a Binding request may have besides where behaviour can be discovered.
func (r *request) understoodHere(t stun.AttrType) bool {
	return understood(t) || t == stun.AttrChangeRequest && r.listener != nil && r.listener.discovery != nil
}

// changeOrigin has the answer come from where CHANGE-REQUEST wants it. It says false when that is malformed.
func (r *request) changeOrigin() bool {
	if r.listener == nil || r.listener.discovery == nil {
		return true
	}
	flags, err := r.msg.Uint32(stun.AttrChangeRequest)
	if err == stun.ErrMalformed {
		return false
	}
	corner := r.listener.corner
	if flags&changeAddress != 0 {
		corner[0] = 1 - corner[0]
	}
	if flags&changePort != 0 {
		corner[1] = 1 - corner[1]
	}
	r.origin = r.listener.discovery.at[corner[0]][corner[1]]
	return true
}

// addOrigin adds where the answer comes from, and what differs in both from where the request came to.
func (r *request) addOrigin(b *stun.Builder) {
	if r.origin != nil {
		d, corner := r.listener.discovery, r.listener.corner
		b.AddAddr(stun.AttrResponseOrigin, r.origin.local)
		b.AddAddr(stun.AttrOtherAddress, d.at[1-corner[0]][1-corner[1]].local)
	}
}
