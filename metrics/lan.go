package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"traverse.internal/signalling/lan"
)

// newLAN is signalling between neighbours on a link.
func newLAN(read func() lan.Stats) prometheus.Collector {
	calls := counter("node_lan_calls_total", "Own calls that looked for a contact on the links, and how many found nobody there; answers that came back.", "what")
	queries := counter("node_lan_queries_total", "Queries by multicast DNS: for us and answered, for us and too many, and for somebody else, other programs' too.", "what")
	datagrams := counter("node_lan_datagrams_total", "Datagrams of neighbours: requests handed on, too many of a contact, with a hint or tag that is nobody's, and those that make no sense.", "what")
	pauses := counter("node_lan_pauses_total", "Times that a socket was left alone for 50 ms because more than 2,000 datagrams a second came: a neighbour floods the link.")
	return collector{[]family{calls, queries, datagrams, pauses}, func(s scrape) {
		st := read()
		s.count(calls, st.Calls, "begun")
		s.count(calls, st.Nobody, "nobody")
		s.count(calls, st.Answered, "answered")
		s.count(queries, st.Replied, "answered")
		s.count(queries, st.Limited, "limited")
		s.count(queries, st.Unknown, "unknown")
		s.count(datagrams, st.Received, "received")
		s.count(datagrams, st.Flooded, "flooded")
		s.count(datagrams, st.Strange, "strange")
		s.count(datagrams, st.Malformed, "malformed")
		s.count(pauses, st.Paused)
	}}
}
