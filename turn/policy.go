package turn

import (
	"net"
	"net/netip"
	"sync/atomic"
)

// DenyReason says why an address cannot be a peer.
type DenyReason uint8

// The reasons; Allowed is none.
const (
	Allowed        DenyReason = iota
	DeniedSpecial             // a special-purpose address, in whatever disguise
	DeniedOwn                 // one of this machine's addresses
	DeniedMetadata            // a cloud's metadata service
	DeniedRule                // Config.DenyPeers
	DeniedEndpoint            // one of our listeners, or of Config.DenyEndpoints, or port 0
	numDenyReasons
)

var denyNames = [numDenyReasons]string{"allowed", "special", "own", "metadata", "rule", "endpoint"}

// String returns the reason as a metric label has it.
func (r DenyReason) String() string { return denyNames[r] }

// special is what IANA's two special-purpose registries list, with multicast and the IPv6 forms that carry an IPv4 address,
// none of which anybody needs as a peer. 64:ff9b::/96 is missing: it is as good as the IPv4 address in it.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/96", "::ffff:0:0/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001:db8::/32", "2002::/16",
	"2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
)

// metadata services hand out an instance's credentials to whoever can reach them; Azure's has a public address.
var metadata = prefixes(
	"169.254.169.254/32", "169.254.170.2/32", "169.254.170.23/32", "169.254.169.253/32", "100.100.100.200/32",
	"168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::254/128", "fd00:ec2::23/128", "fd20:ce::254/128",
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, text := range list {
		out[i] = netip.MustParsePrefix(text)
	}
	return out
}

// guard has the policy that is in force.
type guard struct{ current atomic.Pointer[policy] }

func (g *guard) address(peer netip.Addr) DenyReason { return g.current.Load().address(peer) }

func (g *guard) endpoint(peer netip.AddrPort, relayed func(netip.AddrPort) bool) DenyReason {
	return g.current.Load().endpoint(peer, relayed)
}

// policy decides who may be a peer. It does not change; a reload makes another.
type policy struct {
	allow, deny []netip.Prefix
	own         map[netip.Addr]bool     // this machine's addresses
	relays      map[netip.Addr]bool     // those of own whose relayed ports may be peers
	endpoints   map[netip.AddrPort]bool // never peers
	ports       map[uint16]bool         // of listeners on unspecified addresses: never peers at our own addresses
}

// newPolicy reads the addresses of this machine's interfaces.
func newPolicy(c Config, listeners []netip.AddrPort) (*policy, error) {
	p := &policy{
		allow: c.AllowPeers, deny: c.DenyPeers,
		own:       make(map[netip.Addr]bool),
		relays:    make(map[netip.Addr]bool),
		endpoints: make(map[netip.AddrPort]bool),
		ports:     make(map[uint16]bool),
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if ipNet, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(ipNet.IP); ok {
				p.own[ip.Unmap()] = true
			}
		}
	}
	for _, ip := range []netip.Addr{c.RelayIP4, c.RelayIP6, c.AdvertisedIP4, c.AdvertisedIP6} {
		if ip.IsValid() {
			p.own[ip] = true
			p.relays[ip] = c.OwnRelays
		}
	}
	for _, l := range append(listeners, c.DenyEndpoints...) {
		ip := l.Addr().Unmap().WithZone("")
		if ip.IsUnspecified() || !ip.IsValid() {
			p.ports[l.Port()] = true
			continue
		}
		p.own[ip] = true
		p.endpoints[netip.AddrPortFrom(ip, l.Port())] = true
	}
	return p, nil
}

// address judges a peer's address for a permission. The address is as it came from the wire: its disguises count.
func (p *policy) address(peer netip.Addr) DenyReason {
	if reason := p.bare(peer); reason != Allowed {
		return reason
	}
	if !peer.Is6() {
		return Allowed
	}
	for _, ip := range embedded(peer) {
		if ip.IsValid() {
			if reason := p.bare(ip); reason != Allowed {
				return reason
			}
		}
	}
	return Allowed
}

// bare judges an address without looking into it.
func (p *policy) bare(peer netip.Addr) DenyReason {
	switch {
	case !peer.IsValid() || peer.IsUnspecified():
		return DeniedSpecial
	case within(metadata, peer):
		return DeniedMetadata
	case within(p.deny, peer):
		return DeniedRule
	case within(p.allow, peer), p.relays[peer]:
		return Allowed
	case within(special, peer):
		return DeniedSpecial
	case p.own[peer]:
		return DeniedOwn
	}
	return Allowed
}

// endpoint judges address and port, for what goes to one port: Send, ChannelBind, Connect. relayed says whether a port is a
// relayed address of ours.
func (p *policy) endpoint(peer netip.AddrPort, relayed func(netip.AddrPort) bool) DenyReason {
	ip := peer.Addr()
	if reason := p.address(ip); reason != Allowed {
		return reason
	}
	if peer.Port() == 0 || p.endpoints[peer] || p.own[ip] && p.ports[peer.Port()] {
		return DeniedEndpoint
	}
	if p.relays[ip] && !within(p.allow, ip) && !relayed(peer) {
		return DeniedOwn
	}
	return Allowed
}

func within(list []netip.Prefix, ip netip.Addr) bool {
	for _, prefix := range list {
		if prefix.Contains(ip) {
			return true
		}
	}
	return false
}

// embedded returns the IPv4 addresses that an IPv6 address may stand for, invalid where it does not: a router between
// us and the peer could unwrap it.
func embedded(ip netip.Addr) [2]netip.Addr {
	b := ip.As16()
	v4 := func(at int) netip.Addr { return netip.AddrFrom4([4]byte(b[at : at+4])) }
	zero := func(from, to int) bool {
		for _, x := range b[from:to] {
			if x != 0 {
				return false
			}
		}
		return true
	}
	switch {
	case zero(0, 10) && b[10] == 0xff && b[11] == 0xff, // ::ffff:a.b.c.d, mapped
		zero(0, 8) && b[8] == 0xff && b[9] == 0xff && b[10] == 0 && b[11] == 0: // ::ffff:0:a.b.c.d, translated
		return [2]netip.Addr{v4(12)}
	case zero(0, 12) && ip != netip.IPv6Loopback(): // ::a.b.c.d, compatible
		return [2]netip.Addr{v4(12)}
	case b[0] == 0x00 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b: // NAT64
		if zero(4, 12) { // 64:ff9b::/96
			return [2]netip.Addr{v4(12)}
		}
		// 64:ff9b:1::/48. RFC 6052 §2.2: behind a prefix of 48 bits the address goes around the eighth byte.
		return [2]netip.Addr{v4(12), netip.AddrFrom4([4]byte{b[6], b[7], b[9], b[10]})}
	case b[0] == 0x20 && b[1] == 0x02: // 2002:a.b.c.d::, 6to4
		return [2]netip.Addr{v4(2)}
	case b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0: // Teredo: server, and client inverted
		return [2]netip.Addr{v4(4), netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})}
	case b[8]&^0x03 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ...:0:5efe:a.b.c.d, ISATAP
		return [2]netip.Addr{v4(12)}
	}
	return [2]netip.Addr{}
}
