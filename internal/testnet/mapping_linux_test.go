package testnet

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"traverse.internal/core/portmap"
	"traverse.internal/internal/netlab"
)

// TestPortMapping: behind a symmetric NAT a device is reached by another one behind such, because its router leads a port to
// it, whichever way it is asked; and nothing is left at the router after the device.
func TestPortMapping(t *testing.T) {
	t.Parallel()
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

// TestMiniupnpd: the router that most homes have leads the ports of both protocols and both families to the device, in each of its ways.
// Asked anew it goes on with the same, after it was started anew it leads them again, and nothing is left after the device.
func TestMiniupnpd(t *testing.T) {
	t.Parallel()
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	stranger := w.Site(t, Public, 1).Hosts[0]
	for _, how := range []portmap.How{portmap.PCP, portmap.NATPMP, portmap.UPnP} {
		t.Run(string(how), func(t *testing.T) {
			h := w.house(t, how)
			ports := []port{{portmap.TCP, false, 4001}, {portmap.UDP, false, 4002}}
			if how != portmap.NATPMP { // which has no IPv6
				ports = append(ports, port{portmap.TCP, true, 4003}, port{portmap.UDP, true, 4004})
			}
			reaches := func(p port, at netip.AddrPort, patience time.Duration) (err error) {
				stranger.Do(t, func() { err = echoed(p.network(), at, patience) })
				return err
			}
			for _, p := range ports {
				if err := reaches(p, netip.AddrPortFrom(h.outside(p), p.Port), 200*time.Millisecond); err == nil {
					t.Fatalf("%v: a stranger comes in before anybody has asked for it", p)
				}
			}
			s := w.start(t, "device", h.Hosts[0], plan{Ports: ports})
			check := func(when string) {
				t.Helper()
				s.write(message{Kind: "again"})
				said := s.await(s.channel(s.results, s.id))
				if said.Error != "" {
					t.Fatalf("%s: %s", when, said.Error)
				}
				for i, got := range said.Mapped {
					p := ports[i]
					if want := netip.AddrPortFrom(h.outside(p), p.Port); got.At != want || got.How != how {
						t.Errorf("%s, %v: mapped %v by %q, want %v by %s: %s", when, p, got.At, got.How, want, how, got.Error)
						continue
					}
					if err := reaches(p, got.At, 5*time.Second); err != nil {
						t.Errorf("%s, %v: a stranger does not come in: %v", when, p, err)
					}
					want := 1
					if p.V6 {
						want = 2 // the host has two addresses
					}
					if n := h.rules(t, p.Port); n < want {
						t.Errorf("%s, %v: %d rules, want %d", when, p, n, want)
					}
					if second := netip.AddrPortFrom(h.second6, p.Port); p.V6 && p.Protocol == portmap.TCP {
						if err := reaches(p, second, 5*time.Second); err != nil {
							t.Errorf("%s, %v: at the second address a stranger does not come in: %v", when, p, err)
						}
					}
				}
			}
			check("asked")
			check("asked anew")
			h.halt(t)
			h.boot(t)
			if how != portmap.UPnP { // which has no such word
				h.regains(t, ports)
			}
			check("the router was started anew")
			s.end(t)
			for _, p := range ports {
				h.forgets(t, p)
			}
		})
	}
}

// TestMiniupnpdConnects: two devices behind symmetric NATs with such routers connect directly, whichever way their routers are asked.
func TestMiniupnpdConnects(t *testing.T) {
	t.Parallel()
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	begin := func(name string, how portmap.How) *station {
		h := w.house(t, how)
		h.Hosts[0].Run(t, "ip", "-6", "addr", "flush", "dev", "eth0", "scope", "global") // by which they would need no mapping
		return w.start(t, name, h.Hosts[0], plan{Server: w.server(Mapping), Map: true})
	}
	caller := begin("caller", portmap.PCP)
	for _, how := range []portmap.How{portmap.PCP, portmap.NATPMP, portmap.UPnP} {
		got, seen := caller.connect(begin("called by "+string(how), how))
		for _, m := range []message{got, seen} {
			if o := outcomeOf(m); o != words["mapped"] {
				t.Errorf("%s: got %v, want %v: %s", how, o, words["mapped"], m.Error)
			}
		}
	}
}
