package testnet

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"traverse.internal/internal/netlab"
)

// Internet is the core: a router that every site has a cable to. Its addresses are public ones, as the rules for relays
// and for reasons tell public addresses from others; no packet of them leaves the test's namespaces.
type Internet struct {
	core  *netlab.Host
	sites int
}

// New makes an Internet without sites in the namespace of the process, which is an empty one of its own (netlab.Alone).
func New(t *testing.T) *Internet {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("MISSING: nft, of nftables")
	}
	n := &Internet{core: netlab.Here(t)}
	forward(t, n.core)
	return n
}

func forward(t *testing.T, h *netlab.Host) {
	t.Helper()
	h.Sysctl(t, "ipv4/ip_forward", "1")
	h.Sysctl(t, "ipv6/conf/all/forwarding", "1")
}

// Site is one customer's network.
type Site struct {
	Kind  Kind
	Hosts []*netlab.Host
	// Addrs are the hosts' own addresses, IPv4 before IPv6.
	Addrs [][]netip.Addr
	// Router is what has the NAT's rules, where the kind has such, and Outside its address on the Internet.
	Router  *netlab.Host
	Outside netip.Addr
}

// Site lays a cable to a new site with so many hosts.
func (n *Internet) Site(t *testing.T, kind Kind, hosts int) *Site {
	t.Helper()
	n.sites++
	s := &Site{Kind: kind}
	wan := link{
		name: fmt.Sprintf("site%d", n.sites),
		near: fmt.Sprintf("20.0.%d.1", n.sites), far: fmt.Sprintf("20.0.%d.2", n.sites),
		near6: fmt.Sprintf("2a00:0:0:%x::1", n.sites), far6: fmt.Sprintf("2a00:0:0:%x::2", n.sites),
	}
	switch kind {
	case Public:
		n.bare(t, s, wan, hosts)
	case IPv6Only:
		wan.near, wan.far = "", ""
		n.bare(t, s, wan, hosts)
	default:
		wan.near6, wan.far6 = "", ""
		n.behindNAT(t, s, wan, hosts)
	}
	return s
}

// link is a cable from a router to something nearer to the customer. An address that is "" is not there.
type link struct {
	name                   string // of the interface at the router; the other end is eth0
	near, far, near6, far6 string
}

// lay lays it, makes the router's end the default route, and returns the addresses of the other end.
func (l link) lay(t *testing.T, router, to *netlab.Host) (addrs []netip.Addr) {
	t.Helper()
	var near, far []string
	var routes strings.Builder
	if l.near != "" {
		near, far = append(near, l.near+"/24"), append(far, l.far+"/24")
		addrs = append(addrs, netip.MustParseAddr(l.far))
		routes.WriteString("route add default via " + l.near + "\n")
	}
	if l.near6 != "" {
		near, far = append(near, l.near6+"/64"), append(far, l.far6+"/64")
		addrs = append(addrs, netip.MustParseAddr(l.far6))
		routes.WriteString("route add ::/0 via " + l.near6 + "\n")
	}
	for _, h := range []*netlab.Host{router, to} {
		h.Sysctl(t, "ipv6/conf/default/accept_dad", "0") // or the first second is spent on it
	}
	router.Wire(t, l.name, near, to, "eth0", far)
	to.Feed(t, routes.String(), "ip", "-batch", "-")
	return addrs
}

// bare puts hosts straight on the Internet: the first at the cable, further ones on links of their own.
func (n *Internet) bare(t *testing.T, s *Site, wan link, hosts int) {
	t.Helper()
	for i := range hosts {
		if i > 0 {
			t.Fatal("a site without a router has one host")
		}
		h := netlab.NewHost(t)
		s.Hosts, s.Addrs = append(s.Hosts, h), append(s.Addrs, wan.lay(t, n.core, h))
	}
}

// behindNAT puts a router at the cable, or two of them, and the hosts on its bridge.
func (n *Internet) behindNAT(t *testing.T, s *Site, wan link, hosts int) {
	t.Helper()
	s.Router = netlab.NewHost(t)
	forward(t, s.Router)
	upstream := n.core
	if s.Kind == CarrierGrade {
		carrier := netlab.NewHost(t)
		forward(t, carrier)
		wan.lay(t, n.core, carrier)
		carrier.Feed(t, rules(Restricted), "nft", "-f", "-")
		upstream, wan = carrier, link{name: "home", near: "100.64.0.1", far: "100.64.0.2"}
	}
	s.Outside = wan.lay(t, upstream, s.Router)[0]
	s.Router.Feed(t, rules(s.Kind), "nft", "-f", "-")
	s.Router.Feed(t, "link add lan type bridge\naddr add 192.168.1.1/24 dev lan\nlink set lan up\n", "ip", "-batch", "-")
	for i := range hosts {
		h := netlab.NewHost(t)
		port, addr := fmt.Sprintf("port%d", i), fmt.Sprintf("192.168.1.%d", 10+n.sites+i)
		s.Router.Wire(t, port, nil, h, "eth0", []string{addr + "/24"})
		s.Router.Run(t, "ip", "link", "set", port, "master", "lan")
		h.Run(t, "ip", "route", "add", "default", "via", "192.168.1.1")
		s.Hosts, s.Addrs = append(s.Hosts, h), append(s.Addrs, []netip.Addr{netip.MustParseAddr(addr)})
	}
}
