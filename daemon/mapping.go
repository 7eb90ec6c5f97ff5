package daemon

import (
	"net/netip"

	"traverse.internal/core/ice"
	"traverse.internal/core/portmap"
)

var mappings = map[portmap.How]ice.Mapping{portmap.PCP: ice.MapPCP, portmap.NATPMP: ice.MapPMP, portmap.UPnP: ice.MapUPnP}

// mapped tells paths which port of the router leads to ours.
func (d *Daemon) mapped() (netip.AddrPort, ice.Mapping) {
	if d.mapper == nil {
		return netip.AddrPort{}, ice.MapNone
	}
	at, how := d.mapper.Mapped()
	return at, mappings[how]
}
