package dht

import "net/netip"

// Mode is whose nodes the DHT is made of.
type Mode uint8

// The modes. There is no default: the two must never be mixed by accident.
const (
	// Private is a DHT of one's own nodes. Any unicast address is good, loopback included, and node ids are free.
	Private Mode = iota + 1
	// Mainline is BitTorrent's DHT. Only public addresses are good, and node ids follow from them (BEP 42).
	Mainline
)

func (m Mode) String() string {
	switch m {
	case Private:
		return "private"
	case Mainline:
		return "mainline"
	}
	return "unset"
}

// martians are the blocks that no node of a public DHT can have (IANA special-purpose registries, RFC 6890), the
// 6to4, Teredo and NAT64 blocks among them because an IPv4 address of any kind hides in those.
var martians = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"::/3", // everything below 2000::/3: unspecified, loopback, mapped, NAT64, discard
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	"4000::/2", "8000::/1", // everything above 2000::/3: ULA, link-local, multicast, not assigned
)

// indirect are the blocks that a direct message may not go to in Mainline mode: a contact's record must not make us
// send to our own services, to the link, or to a cloud's metadata. One's LAN stays possible.
var indirect = prefixes("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/8", "fe80::/10", "ff00::/8")

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, s := range texts {
		list[i] = netip.MustParsePrefix(s)
	}
	return list
}

func within(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// unicast reports whether a packet can be sent to addr at all and mean one host.
func unicast(addr netip.AddrPort) bool {
	a := addr.Addr()
	return addr.IsValid() && addr.Port() != 0 && !a.IsUnspecified() && !a.IsMulticast() && !a.Is4In6() &&
		a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// allowsNode reports whether a DHT node may have this address. addr is unmapped.
func (m Mode) allowsNode(addr netip.AddrPort) bool {
	return unicast(addr) && (m == Private || !within(martians, addr.Addr()))
}

// allowsDirect reports whether direct messages may go to and come from addr. addr is unmapped.
func (m Mode) allowsDirect(addr netip.AddrPort) bool {
	return unicast(addr) && (m == Private || !within(indirect, addr.Addr()))
}

// unmapped is addr with an IPv4 address in IPv6's clothes taken out of them.
func unmapped(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}
