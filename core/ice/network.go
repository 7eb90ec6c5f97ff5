package ice

// Network is what a device knows of the network it is in, as far as that decides on paths. The zero value is what a device
// says that knows nothing, or that nothing stands in the way of. It travels in the Offer as one byte.
type Network struct {
	// Symmetric: the NAT maps the TCP port anew for each destination, so that a reflexive address is of no use to the peer.
	Symmetric bool
	// Filtered: TCP leaves only to some ports, that of the relay among them.
	Filtered bool
	// UDPBlocked: no server answered over UDP.
	UDPBlocked bool
	// Mapping is how the router was asked to map the port; MapNone is not at all.
	Mapping Mapping
}

// Mapping is a protocol by which a router maps a port.
type Mapping uint8

// Mappings.
const (
	MapNone Mapping = iota
	MapUPnP
	MapPMP
	MapPCP
)

// String returns "none", "upnp", "pmp" or "pcp".
func (m Mapping) String() string { return [...]string{"none", "upnp", "pmp", "pcp"}[m&3] }

// The bits of the byte.
const (
	networkSymmetric    = 1 << 0
	networkFiltered     = 1 << 1
	networkMappingShift = 2 // 2 bits
	networkUDPBlocked   = 1 << 4
)

func (n Network) bits() byte {
	b := byte(n.Mapping&3) << networkMappingShift
	if n.Symmetric {
		b |= networkSymmetric
	}
	if n.Filtered {
		b |= networkFiltered
	}
	if n.UDPBlocked {
		b |= networkUDPBlocked
	}
	return b
}

func networkOf(b byte) Network {
	return Network{
		Symmetric:  b&networkSymmetric != 0,
		Filtered:   b&networkFiltered != 0,
		UDPBlocked: b&networkUDPBlocked != 0,
		Mapping:    Mapping(b >> networkMappingShift & 3),
	}
}
