package ice

// Rungs are kinds of ways, by candidate and transport: a set of the ladder from a neighbour's address to a relay.
type Rungs uint8

// The rungs, in the order in which they are climbed.
const (
	HostTCP Rungs = 1 << iota
	SrflxTCP
	HostUDP
	SrflxUDP
	RelayTCP
	RelayUDP
)

var rungNames = map[string]Rungs{
	"host-tcp": HostTCP, "srflx-tcp": SrflxTCP, "host-udp": HostUDP, "srflx-udp": SrflxUDP, "relay-tcp": RelayTCP, "relay-udp": RelayUDP,
}

// Ladder reads a list of rungs' names, best first: which are left out, and whether UDP has the head start over TCP. An empty list leaves none out.
func Ladder(names []string) (without Rungs, udpFirst bool) {
	if len(names) == 0 {
		return 0, false
	}
	without = HostTCP | SrflxTCP | HostUDP | SrflxUDP | RelayTCP | RelayUDP
	for _, name := range names {
		r := rungNames[name]
		if r&(HostUDP|SrflxUDP) != 0 && without&HostTCP != 0 && without&SrflxTCP != 0 {
			udpFirst = true
		}
		without &^= r
	}
	return without, udpFirst
}

// rungOf is the rung of a candidate; that of one which only the peer has seen is any that leads straight there by its transport.
func rungOf(t CandidateType, tcp bool) Rungs {
	switch {
	case t == TypeHost && tcp:
		return HostTCP
	case t == TypeHost:
		return HostUDP
	case t == TypeSrflx && tcp:
		return SrflxTCP
	case t == TypeSrflx:
		return SrflxUDP
	case t == TypeRelay && tcp:
		return RelayTCP
	case t == TypeRelay:
		return RelayUDP
	case tcp:
		return HostTCP | SrflxTCP
	}
	return HostUDP | SrflxUDP
}

// uses reports whether candidates of a kind are offered and tried.
func (c *Config) uses(t CandidateType, tcp bool) bool { return rungOf(t, tcp)&^c.Without != 0 }

// head is the transport that has the head start where we call.
func (c *Config) head() carriage {
	if c.UDPFirst {
		return overUDP
	}
	return overTCP
}
