package testnet

import (
	"strings"
	"testing"

	"traverse.internal/core/portmap"
	"traverse.internal/internal/netlab"
)

// TestPortMapping: behind a symmetric NAT a device is reached by another one behind such, because its router leads a port to
// it, whichever way it is asked; and nothing is left at the router after the device.
func TestPortMapping(t *testing.T) {
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	caller := w.device(t, "caller", w.Site(t, Symmetric, 1), 0)
	for _, how := range []portmap.How{portmap.PCP, portmap.NATPMP, portmap.UPnP} {
		site := w.Site(t, Mapping, 1)
		w.router(t, site, how)
		t.Run(string(how), func(t *testing.T) {
			called := w.start(t, "called", site.Hosts[0], plan{Server: w.server(Mapping), Map: true})
			leads := func() bool {
				return strings.Contains(site.Router.Run(t, "nft", "list", "map", "ip", "router", "tcp_ports"), site.Addrs[0][0].String())
			}
			if !leads() {
				t.Error("the router leads no port to the device")
			}
			got, seen := caller.connect(called)
			for _, m := range []message{got, seen} {
				if o := outcomeOf(m); o != words["mapped"] {
					t.Errorf("got %v, want %v: %s", o, words["mapped"], m.Error)
				}
			}
			called.end(t)
			if leads() {
				t.Error("the mapping was left at the router")
			}
		})
	}
}
