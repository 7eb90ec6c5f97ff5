package daemon

import (
	"net/netip"

	"traverse.internal/core/ice"
	"traverse.internal/core/portmap"
)

var mappings = map[portmap.How]ice.Mapping{portmap.PCP: ice.MapPCP, portmap.NATPMP: ice.MapPMP, portmap.UPnP: ice.MapUPnP}

// mapping is a port of ours that the router is asked for, and by what.
type mapping struct {
	*portmap.Mapper
	name string // what listens there: paths or dht
	cfg  portmap.Config
}

// openMappings makes the mappers: for paths over TCP and UDP, for the DHT's socket, and the same as pinholes in an IPv6
// firewall. The first is TCP's for IPv4.
func (d *Daemon) openMappings() {
	add := func(name string, p portmap.Protocol, port uint16) {
		if port == 0 {
			return
		}
		for _, v6 := range []bool{false, true} {
			cfg := portmap.Config{Protocol: p, Port: port, V6: v6, Changed: d.endpoint.Changed}
			d.mappings = append(d.mappings, mapping{portmap.New(cfg), name, cfg})
		}
	}
	add("paths", portmap.TCP, d.endpoint.Port())
	add("paths", portmap.UDP, d.endpoint.UDPPort())
	add("dht", portmap.UDP, d.dht.Addr().Port())
}

// mappedPort is the outside of what listens under a name, for IPv4.
func (d *Daemon) mappedPort(name string, p portmap.Protocol) (netip.AddrPort, portmap.How) {
	for _, m := range d.mappings {
		if m.name == name && m.cfg.Protocol == p && !m.cfg.V6 {
			return m.Mapped()
		}
	}
	return netip.AddrPort{}, ""
}

// mapped tells paths which port of the router leads to ours.
func (d *Daemon) mapped() (netip.AddrPort, ice.Mapping) {
	at, how := d.mappedPort("paths", portmap.TCP)
	return at, mappings[how]
}

// mappedUDP is the same for UDP.
func (d *Daemon) mappedUDP() netip.AddrPort {
	at, _ := d.mappedPort("paths", portmap.UDP)
	return at
}

// mappedDHT is the same for the DHT's socket, where contacts ask directly.
func (d *Daemon) mappedDHT() netip.AddrPort {
	at, _ := d.mappedPort("dht", portmap.UDP)
	return at
}

func (d *Daemon) mappingState() NetcheckMapping {
	m := NetcheckMapping{State: "off", How: ice.MapNone.String(), Ports: []NetcheckPort{}}
	for i, o := range d.mappings {
		p := NetcheckPort{For: o.name, Protocol: "tcp", Family: "ipv4", Port: o.cfg.Port, State: "none", How: ice.MapNone.String(), Error: whyError(o.Err())}
		if o.cfg.Protocol == portmap.UDP {
			p.Protocol = "udp"
		}
		if o.cfg.V6 {
			p.Family = "ipv6"
		}
		if at, how := o.Mapped(); at.IsValid() {
			p.State, p.How, p.Outside = "mapped", mappings[how].String(), at.String()
		}
		if i == 0 {
			m.State, m.How, m.Outside, m.Error = p.State, p.How, p.Outside, p.Error
		}
		m.Ports = append(m.Ports, p)
	}
	return m
}

// stunServers are the relays that answer without TLS, and then those of the configuration.
func stunServers(more []string, relays []ice.Relay) []string {
	var out []string
	for _, r := range relays {
		if r.TLS == nil {
			out = append(out, r.Server)
		}
	}
	return append(out, more...)
}
