package daemon

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"traverse.internal/internal/cli"
)

// NetcheckChanges is what `netcheck --every` prints where a check differs from the one before.
type NetcheckChanges struct {
	cli.Envelope
	Time    time.Time        `json:"time"`
	Changes []NetcheckChange `json:"changes"`
}

// NetcheckChange is one fact of a check that is another now. Empty: there was nothing of that kind, or there is none any more.
type NetcheckChange struct {
	What string `json:"what"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Since says what is not as it was in the check before. Round trips and counts of answers are left out: they differ each time and mean nothing.
func (n Netcheck) Since(before Netcheck) NetcheckChanges {
	out := NetcheckChanges{envelope("netcheck_changes"), n.Time, []NetcheckChange{}}
	was, now := before.facts(), n.facts()
	both := maps.Clone(was)
	maps.Copy(both, now)
	for _, what := range slices.Sorted(maps.Keys(both)) {
		if was[what] != now[what] {
			out.Changes = append(out.Changes, NetcheckChange{what, was[what], now[what]})
		}
	}
	return out
}

// Back is Since, for a node that did not answer in between.
func (n Netcheck) Back(before Netcheck) NetcheckChanges {
	out := n.Since(before)
	out.Changes = append([]NetcheckChange{{"node", "no answer", "up"}}, out.Changes...)
	return out
}

// NetcheckGone is the change to a node that does not answer.
func NetcheckGone(at time.Time, err error) NetcheckChanges {
	return NetcheckChanges{envelope("netcheck_changes"), at, []NetcheckChange{{"node", "up", "no answer: " + cli.OneLine(err.Error())}}}
}

// facts are what a check found, each under a name of its own.
func (n Netcheck) facts() map[string]string {
	f := map[string]string{
		"tcp":          tcpFact(n.TCP),
		"port mapping": strings.TrimSpace(n.PortMapping.State + " " + n.PortMapping.Outside),
		"dht mode":     n.DHT.Mode,
		"dht":          yesNo(n.DHT.Nodes > 0, "nodes known", "no node known"),
	}
	for _, u := range n.UDP {
		f["udp "+u.Family+" mapping"] = u.Mapping
		f["udp "+u.Family+" filtering"] = u.Filtering
		f["udp "+u.Family+" answers"] = yesNo(u.Answered > 0, "yes", "none")
		f["udp "+u.Family+" seen as"] = hostOf(u.Mapped) // the port is another with every check: so is the socket
	}
	for _, p := range n.PortMapping.Ports {
		f["port "+p.For+" "+p.Family+" "+p.Protocol] = strings.TrimSpace(p.State + " " + p.Outside)
	}
	for _, r := range n.Relays {
		name := "relay " + strings.TrimSpace(r.URL+" "+r.Address)
		f[name+" tcp"] = yesNo(r.TCP, "answers", cmp.Or(cli.OneLine(r.Error), "no answer"))
		f[name+" udp"] = yesNo(r.UDP, "answers", "no answer")
		if r.Expires != nil {
			f[name+" certificate"] = "until " + r.Expires.UTC().Format(time.RFC3339)
		}
	}
	for _, p := range n.Push {
		f["push "+p.Relay] = yesNo(p.Up, "up", cmp.Or(cli.OneLine(p.Error), "not yet"))
	}
	for _, w := range n.Warnings {
		f["warning "+w.What] = "yes"
	}
	if n.Clock.Refused > 0 {
		f["clock"] = "messages are refused for their time"
	}
	return f
}

func tcpFact(t NetcheckTCP) string {
	switch {
	case !t.Known:
		return "not known"
	case t.Filtered:
		return "leaves only to some ports"
	case t.Symmetric:
		return "every destination is mapped anew"
	}
	return "nothing stands in the way"
}

func yesNo(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

// hostOf is an address without its port.
func hostOf(at string) string {
	if i := strings.LastIndexByte(at, ':'); i >= 0 {
		return at[:i]
	}
	return at
}
