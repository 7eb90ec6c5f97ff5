package daemon

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"traverse.internal/internal/cli"
	"traverse.internal/turn/probe"
)

// Netcheck is what `netcheck` prints: what this network does to paths, as far as relays can tell.
type Netcheck struct {
	cli.Envelope
	Time        time.Time         `json:"time"`
	UDP         []NetcheckNAT     `json:"udp"` // by family
	TCP         NetcheckTCP       `json:"tcp"`
	PortMapping NetcheckMapping   `json:"port_mapping"`
	DHT         DHTStatus         `json:"dht"`
	Relays      []NetcheckRelay   `json:"relays"`
	Push        []PushStatus      `json:"push,omitempty"`
	Clock       NetcheckClock     `json:"clock"`
	Warnings    []NetcheckWarning `json:"warnings"`
}

// NetcheckNAT is what stands between this device and the Internet, for UDP and one family. The words are RFC 4787's.
type NetcheckNAT struct {
	Family    string `json:"family"`           // ipv4 or ipv6
	Mapping   string `json:"mapping"`          // none, endpoint-independent, address-dependent, address-and-port-dependent, destination-dependent, unknown
	Filtering string `json:"filtering"`        // the same words; unknown unless the relay has a second address
	Mapped    string `json:"mapped,omitempty"` // how the first relay that answered saw the socket
	Answered  int    `json:"answered"`         // servers that answered over UDP: relays, and those of path.stun
}

// NetcheckTCP is what the network does to TCP; learnt at a relay.
type NetcheckTCP struct {
	Known     bool   `json:"known"`
	Symmetric bool   `json:"symmetric"` // the NAT maps every destination anew
	Filtered  bool   `json:"filtered"`  // TCP leaves only to some ports
	Error     string `json:"error,omitempty"`
}

// NetcheckMapping is the port that the router was asked for: that of paths over TCP and IPv4. Ports has all of them.
type NetcheckMapping struct {
	State   string         `json:"state"` // off, none or mapped
	How     string         `json:"how"`   // none, upnp, pmp or pcp
	Outside string         `json:"outside,omitempty"`
	Error   string         `json:"error,omitempty"`
	Ports   []NetcheckPort `json:"ports"`
}

// NetcheckPort is one port that the router was asked for; for IPv6 it is a pinhole in its firewall.
type NetcheckPort struct {
	For      string `json:"for"`      // paths or dht
	Protocol string `json:"protocol"` // tcp or udp
	Family   string `json:"family"`   // ipv4 or ipv6
	Port     uint16 `json:"port"`     // of this device
	State    string `json:"state"`    // none or mapped
	How      string `json:"how"`
	Outside  string `json:"outside,omitempty"`
	Error    string `json:"error,omitempty"`
}

// NetcheckRelay is a relay at one of its addresses.
type NetcheckRelay struct {
	URL     string        `json:"url"`
	Address string        `json:"address,omitempty"`
	Family  string        `json:"family,omitempty"`
	TCP     bool          `json:"tcp"`               // it answered over TCP, or TLS where its URL says so
	UDP     bool          `json:"udp"`               // ... over UDP
	SetUp   time.Duration `json:"tcp_ns"`            // median, connection and TLS included; 0: no answer
	RTT     time.Duration `json:"udp_ns"`            // median round trip of a Binding; 0: no answer
	Expires *time.Time    `json:"expires,omitempty"` // of its certificate
	Error   string        `json:"error,omitempty"`   // over TCP
}

// NetcheckClock is what is known of this device's clock.
type NetcheckClock struct {
	Refused uint64 `json:"refused_messages"` // of contacts, for their time: a clock is wrong here or there
}

// NetcheckWarning is something to look at.
type NetcheckWarning struct {
	What string `json:"what"`
	Try  string `json:"try"`
}

// Limits of a check: 4 relays, each with an address per family, one after the other.
const (
	netcheckRelays = 4
	netcheckRounds = 5
	netcheckTCP    = 2 * time.Second
)

// Netcheck asks the relays. It takes a second or two for each that does not answer.
func (d *Daemon) Netcheck(ctx context.Context) Netcheck {
	n := Netcheck{
		Envelope: envelope("netcheck"), Time: time.Now(), UDP: []NetcheckNAT{}, Relays: []NetcheckRelay{}, DHT: d.dhtStatus(), Push: d.pushStatus(),
		PortMapping: d.mappingState(), Clock: NetcheckClock{d.signaler.Stats().Expired}, Warnings: []NetcheckWarning{},
	}
	var servers []netip.AddrPort
	relays, stun := d.rules.Load().relays, d.rules.Load().stun
	for _, r := range relays[:min(len(relays), netcheckRelays)] {
		for _, at := range resolveRelay(ctx, r.URL, &n) {
			servers = append(servers, at)
			n.Relays = append(n.Relays, checkRelay(ctx, r.URL, at))
		}
	}
	for _, s := range stun[:min(len(stun), netcheckRelays)] {
		servers = append(servers, resolveSTUN(ctx, s)...)
	}
	for _, v6 := range []bool{false, true} {
		n.UDP = append(n.UDP, checkUDP(ctx, v6, servers, n.Relays))
	}
	network, err := d.endpoint.Learn(ctx)
	n.TCP = NetcheckTCP{Known: err == nil, Symmetric: network.Symmetric, Filtered: network.Filtered, Error: whyError(err)}
	n.warn()
	return n
}

// resolveRelay returns an address of each family, IPv4 first; a name that has none is noted.
func resolveRelay(ctx context.Context, u RelayURL, n *Netcheck) []netip.AddrPort {
	ctx, cancel := context.WithTimeout(ctx, netcheckTCP)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Host)
	if err != nil {
		n.Relays = append(n.Relays, NetcheckRelay{URL: u.String(), Error: whyError(err)})
	}
	return oneOfEach(found, u.Port)
}

// resolveSTUN returns an address of each family, as far as the server has such.
func resolveSTUN(ctx context.Context, hostPort string) []netip.AddrPort {
	host, service, err := net.SplitHostPort(hostPort)
	port, errPort := strconv.ParseUint(service, 10, 16)
	if err != nil || errPort != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, netcheckTCP)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	return oneOfEach(found, uint16(port))
}

// oneOfEach returns an address of each family, IPv4 first.
func oneOfEach(found []netip.Addr, port uint16) (out []netip.AddrPort) {
	for _, v6 := range []bool{false, true} {
		if i := slices.IndexFunc(found, func(a netip.Addr) bool { return a.Unmap().Is6() == v6 }); i >= 0 {
			out = append(out, netip.AddrPortFrom(found[i].Unmap(), port))
		}
	}
	return out
}

// checkRelay connects a few times, as many as it takes for a median.
func checkRelay(ctx context.Context, u RelayURL, at netip.AddrPort) NetcheckRelay {
	r := NetcheckRelay{URL: u.String(), Address: at.String(), Family: familyOf(at.Addr())}
	c := probe.Config{Network: "tcp", Server: at, ServerName: u.Host, Timeout: netcheckTCP}
	if u.TLS {
		c.Network = "tls"
	}
	var times []time.Duration
	for range netcheckRounds {
		report, err := probe.Run(ctx, c)
		r.Expires = report.Expires
		if err != nil {
			r.Error = whyError(err)
			return r
		}
		times = append(times, report.Steps[0].Took)
	}
	r.TCP, r.SetUp = true, median(times)
	return r
}

// checkUDP asks the relays of a family over UDP and compares their answers.
func checkUDP(ctx context.Context, v6 bool, servers []netip.AddrPort, relays []NetcheckRelay) NetcheckNAT {
	nat := NetcheckNAT{Family: "ipv4", Mapping: natUnknown, Filtering: natUnknown}
	if v6 {
		nat.Family = "ipv6"
	}
	a, err := newAsker(ctx, v6)
	if err != nil {
		return nat
	}
	defer a.close()
	var from []netip.AddrPort
	var all []seen
	for _, server := range servers {
		if server.Addr().Is6() != v6 {
			continue
		}
		var times []time.Duration
		for range netcheckRounds {
			s, err := a.ask(ctx, server, 0, natTries)
			if err != nil {
				break
			}
			if times = append(times, s.took); len(times) == 1 {
				from, all = append(from, server), append(all, s)
			}
		}
		for i := range relays {
			if relays[i].Address == server.String() && len(times) > 0 {
				relays[i].UDP, relays[i].RTT = true, median(times)
			}
		}
	}
	if nat.Answered = len(all); nat.Answered == 0 {
		return nat
	}
	nat.Mapped = all[0].mapped.String()
	nat.Filtering = a.filtering(ctx, from[0], all[0])
	nat.Mapping = a.mapping(ctx, from[0], all[0], all[1:])
	return nat
}

// warn says what somebody should look at, and where to begin.
func (n *Netcheck) warn() {
	add := func(what, try string) { n.Warnings = append(n.Warnings, NetcheckWarning{what, try}) }
	if n.DHT.Nodes == 0 {
		add("no node of the DHT is known", "see dht.bootstrap, and that UDP leaves this network")
	}
	reached, udp := 0, 0
	for _, r := range n.Relays {
		if !r.TCP {
			add("relay "+r.URL+" does not answer", "turnd check '"+r.URL+"'")
			continue
		}
		reached++
		if r.UDP {
			udp++
		}
	}
	switch {
	case len(n.Relays) == 0:
		add("there is no relay to ask, so that nothing is known of NATs", "name one: [[relay]] in the configuration, or --relay")
	case reached > 0 && udp == 0:
		add("no relay answers over UDP", "let UDP out on this network's firewall")
	}
	if n.Clock.Refused > 0 {
		add(clockWarning(n.Clock.Refused), "timedatectl")
	}
}

// median is the middle one, the lower where there are two; 0 of none.
func median(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[(len(sorted)-1)/2]
}

func familyOf(a netip.Addr) string {
	if a.Is4() {
		return "ipv4"
	}
	return "ipv6"
}
