package ice

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"traverse.internal/turn"
)

func TestLadder(t *testing.T) {
	all := []string{"host-tcp", "srflx-tcp", "host-udp", "srflx-udp", "relay-tcp", "relay-udp"}
	for _, c := range []struct {
		names    []string
		without  Rungs
		udpFirst bool
	}{
		{nil, 0, false},
		{all, 0, false},
		{[]string{"host-udp", "srflx-udp", "host-tcp", "srflx-tcp", "relay-tcp", "relay-udp"}, 0, true},
		{[]string{"host-tcp", "host-udp", "relay-tcp"}, SrflxTCP | SrflxUDP | RelayUDP, false},
		{[]string{"host-udp"}, HostTCP | SrflxTCP | SrflxUDP | RelayTCP | RelayUDP, true},
	} {
		without, udpFirst := Ladder(c.names)
		if without != c.without || udpFirst != c.udpFirst {
			t.Errorf("Ladder(%v) = %b, %v; want %b, %v", c.names, without, udpFirst, c.without, c.udpFirst)
		}
	}
}

// What one side leaves out is used by neither, and who calls says which transport comes first.
func TestPathsByRungs(t *testing.T) {
	const tcp, udp, far = HostTCP | SrflxTCP, HostUDP | SrflxUDP, RelayTCP | RelayUDP
	server := turndUDP(t, func(c *turn.Config) { c.NoTCPRelays = false })
	relay := []Relay{{Server: server.TCPAddrs()[0].String(), Username: "u", Password: "p"}}
	for _, c := range []struct {
		name           string
		caller, callee Config
		change         func(Offer) Offer
		want           string
	}{
		{"all", Config{}, Config{}, unchanged, "host/tcp"},
		{"the caller leaves TCP out", Config{Without: tcp}, Config{}, unchanged, "host/udp"},
		{"the called one leaves TCP out", Config{}, Config{Without: tcp}, unchanged, "host/udp"},
		{"one leaves TCP out, the other UDP", Config{Without: tcp}, Config{Without: udp, Relays: relay}, unchanged, "relay/tcp"},
		{"the same without any relay but UDP ones", Config{Without: tcp | RelayTCP, Relays: relay}, Config{Without: udp | RelayTCP}, unchanged, "relay/udp"},
		{"UDP first for the caller", Config{UDPFirst: true}, Config{}, unchanged, "host/udp"},
		{"UDP first for the called one", Config{}, Config{UDPFirst: true}, unchanged, "host/tcp"},
		{"UDP first, and it leads nowhere", Config{UDPFirst: true}, Config{}, udpFiltered, "host/tcp"},
		{"no relay is used where neither wants one", Config{Without: far, Relays: relay}, Config{Without: far, Relays: relay}, unchanged, "host/tcp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			noGoroutines(t)
			b := mustConnectUDP(t, listenTest(t, c.caller), listenTest(t, c.callee), c.change)
			defer b.close()
			for _, p := range []*Path{b.offerer, b.answerer} {
				via := p.Route.Via
				if via == "prflx/tcp" || via == "prflx/udp" { // seen from whom the other's kind of candidate is left out
					via = "host" + via[len("prflx"):]
				}
				if via != c.want {
					t.Errorf("%v: path %+v, want %s", p.Role, p.Route, c.want)
				}
			}
		})
	}
}

// What is left out is not in the offer, is not asked for, and not taken where a peer comes with it.
func TestLeftOutRungs(t *testing.T) {
	server := turndUDP(t, func(c *turn.Config) { c.NoTCPRelays = false })
	relay := []Relay{{Server: server.TCPAddrs()[0].String(), Username: "u", Password: "p"}}
	kinds := func(o Offer) (out []string) {
		for _, c := range o.Candidates {
			kind := c.Type.String() + "-udp"
			if c.TCP {
				kind = c.Type.String() + "-tcp"
			}
			out = append(out, kind)
		}
		for range o.Relays {
			out = append(out, "relay-tcp")
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	for _, c := range []struct {
		name string
		cfg  Config
		want []string
	}{
		{"all", Config{}, []string{"host-tcp", "host-udp", "relay-tcp"}},
		{"UDP ports of relays too", Config{RelayUDP: true}, []string{"host-tcp", "host-udp", "relay-tcp", "relay-udp"}},
		{"no TCP ports of relays", Config{Without: RelayTCP}, []string{"host-tcp", "host-udp", "relay-udp"}},
		{"no relays", Config{Without: RelayTCP | RelayUDP, RelayUDP: true}, []string{"host-tcp", "host-udp"}},
		{"no host TCP", Config{Without: HostTCP}, []string{"host-udp", "relay-tcp"}},
		{"no host UDP", Config{Without: HostUDP}, []string{"host-tcp", "relay-tcp"}},
		{"mapped TCP", Config{Mapped: mappedTo("192.0.2.1:1000")}, []string{"host-tcp", "host-udp", "relay-tcp", "srflx-tcp"}},
		{"mapped TCP, left out", Config{Mapped: mappedTo("192.0.2.1:1000"), Without: SrflxTCP}, []string{"host-tcp", "host-udp", "relay-tcp"}},
		{"mapped UDP", Config{MappedUDP: func() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.1:1000") }}, []string{"host-tcp", "host-udp", "relay-tcp", "srflx-udp"}},
		{"mapped UDP, left out", Config{MappedUDP: func() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.1:1000") }, Without: SrflxUDP}, []string{"host-tcp", "host-udp", "relay-tcp"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Relays = relay
			at, err := listenTest(t, c.cfg).Gather(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer at.Close()
			at.UseUDP(testPrint)
			if got := kinds(at.Offer()); !slices.Equal(got, c.want) {
				t.Errorf("offers %v, want %v", got, c.want)
			}
		})
	}

	// A device that leaves direct TCP out has a listener still, for the offer of a peer that comes from behind a relay: it takes no connection straight from a peer.
	caller, callee := listenTest(t, Config{}), listenTest(t, Config{Without: HostTCP | SrflxTCP | RelayTCP | RelayUDP, TCPOnly: true})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	b := connectVia(ctx, caller, callee, func(o Offer) Offer {
		if len(o.Candidates) == 0 { // the called one's: say where it listens
			o.Candidates = []Candidate{{Foundation: "1", Component: 1, TCP: true, Priority: 1, Addr: netip.AddrPortFrom(lo4, callee.Port()), Type: TypeHost, TCPType: "passive"}}
		}
		return o
	})
	defer b.close()
	if err := errors.Join(b.offererErr, b.answererErr); err == nil {
		t.Errorf("a path %+v came about", b.offerer.Route)
	}
}

func mappedTo(at string) func() (netip.AddrPort, Mapping) {
	return func() (netip.AddrPort, Mapping) { return netip.MustParseAddrPort(at), MapPCP }
}
