package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Rungs are the kinds of ways to a peer, in the order in which they are climbed where path.order says nothing.
var rungs = []string{"host-tcp", "srflx-tcp", "host-udp", "srflx-udp", "relay-tcp", "relay-udp"}

// orderField is path.order: some of the rungs.
func orderField() field {
	f := list(func(c *Config) *[]string { return &c.Path.Order }, "kinds of ways", single(func(s string) (string, error) {
		if slices.Contains(rungs, s) {
			return s, nil
		}
		return "", fmt.Errorf("%q is not one of %s%s", s, strings.Join(rungs, ", "), didYouMean(nearest(s, rungs)))
	}))
	f.pattern = `^\s*(` + strings.Join(rungs, "|") + `)\s*$`
	return f
}

// checkPath names what is wrong between the keys of [path].
func (c *Config) checkPath(wrong func(key, format string, args ...any) error) error {
	order := c.Path.Order
	at := func(rung string) int { return slices.Index(order, rung) }
	// after reports that both are there, and the first one behind the second one.
	after := func(first, second string) bool { return at(second) >= 0 && at(first) > at(second) }
	var last string // transport of the direct rung before
	seen := map[string]bool{}
	for i, rung := range order {
		kind, transport, _ := strings.Cut(rung, "-")
		switch {
		case at(rung) != i:
			return wrong("path.order", "%s is there twice", rung)
		case kind == "relay":
			continue
		case i > 0 && strings.HasPrefix(order[i-1], "relay-"):
			return wrong("path.order", "%s stands behind %s; ways through a relay come last, and path.policy = \"relay-only\" leaves no others", rung, order[i-1])
		case transport != last && seen[transport]:
			return wrong("path.order", "%s stands apart; one transport has the head start as a whole", rung)
		}
		last, seen[transport] = transport, true
	}
	relays := at("relay-tcp") >= 0 || at("relay-udp") >= 0
	switch {
	case len(seen) == 0:
		return wrong("path.order", "it has no direct way; that is path.policy = \"relay-only\"")
	case after("host-tcp", "srflx-tcp"), after("host-udp", "srflx-udp"):
		return wrong("path.order", "srflx stands before host; what is nearest is tried first")
	case after("relay-tcp", "relay-udp"):
		return wrong("path.order", "relay-udp stands before relay-tcp; leave relay-tcp out, or set path.relay_udp = \"always\"")
	case !relays && c.Path.Policy == "relay-only":
		return wrong("path.policy", "relay-only, and path.order has neither relay-tcp nor relay-udp")
	case at("relay-udp") < 0 && c.Path.RelayUDP == "always":
		return wrong("path.relay_udp", "always, and path.order has no relay-udp")
	case c.Path.Transports == "tcp-only" && !seen["tcp"]:
		return wrong("path.transports", "tcp-only, and path.order has neither host-tcp nor srflx-tcp")
	}
	return nil
}

// Span is a range of durations, as in "5s..10m".
type Span struct{ First, Most time.Duration }

// String writes the span as the file has it.
func (s Span) String() string { return s.First.String() + ".." + s.Most.String() }

// spanWithin reads a Span whose ends are within limits.
func spanWithin(least, most time.Duration) func(string) (Span, error) {
	limit := within(least, most)
	return func(text string) (Span, error) {
		from, to, ok := strings.Cut(text, "..")
		if !ok {
			return Span{}, fmt.Errorf("%q is not a range of durations such as \"5s..10m\"", text)
		}
		first, err := limit(from)
		if err != nil {
			return Span{}, err
		}
		longest, err := limit(to)
		if err != nil {
			return Span{}, err
		}
		if first > longest {
			return Span{}, fmt.Errorf("%q begins above its end", text)
		}
		return Span{first, longest}, nil
	}
}
