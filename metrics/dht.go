package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"traverse.internal/dht"
)

func newDHT(read func() dht.Stats) prometheus.Collector {
	nodes := gauge("dht_nodes", "Nodes in the routing table; good ones have answered lately.", "state")
	items := gauge("dht_items", "Items kept for the network.")
	bytes := gauge("dht_item_bytes", "Size of the items kept for the network.")
	gets := counter("dht_gets_total", "Lookups of an item.")
	found := counter("dht_gets_found_total", "Of the lookups, those that found one.")
	puts := counter("dht_puts_total", "Writes of an item.")
	failed := counter("dht_puts_failed_total", "Of the writes, those that no node took.")
	stored := counter("dht_stored_copies_total", "Copies of own items that nodes took.")
	polls := counter("dht_polls_total", "Of the lookups, those of mailboxes.")
	queries := counter("dht_queries_total", "Queries, in from other nodes and out to them.", "dir")
	timeouts := counter("dht_timeouts_total", "Queries nobody answered.")
	presence := counter("dht_presence_puts_total", "Own presence records written, by outcome.", "outcome")
	lookups := counter("dht_presence_lookups_total", "Lookups of a contact's presence.")
	direct := counter("dht_direct_messages_total", "Signalling messages sent straight to a device's address, and what came of them.", "what")
	callto := counter("dht_callto_total", "First-contact boxes, written or found pinned by somebody.", "what")
	drops := counter("dht_drops_total", "Packets dropped.", "reason")
	readErrors := counter("dht_read_errors_total", "Errors of reading the socket.")
	refused := counter("dht_refused_out_total", "Packets not sent because the mode refuses the address.")
	families := []family{
		nodes, items, bytes, gets, found, puts, failed, stored, polls, queries, timeouts, presence, lookups, direct, callto, drops, readErrors, refused,
	}
	return collector{families, func(s scrape) {
		st := read()
		s.add(nodes, float64(st.GoodNodes), "good")
		s.add(nodes, float64(st.Nodes-st.GoodNodes), "doubtful")
		s.add(items, float64(st.Items))
		s.add(bytes, float64(st.ItemBytes))
		s.count(gets, st.Gets)
		s.count(found, st.Found)
		s.count(puts, st.Puts)
		s.count(failed, st.PutsFailed)
		s.count(stored, st.Stored)
		s.count(polls, st.Polls)
		s.count(queries, st.QueriesIn, "in")
		s.count(queries, st.QueriesOut, "out")
		s.count(timeouts, st.Timeouts)
		s.count(presence, st.PresencePuts, "stored")
		s.count(presence, st.PresenceFails, "failed")
		s.count(lookups, st.Lookups)
		s.count(direct, st.DirectSent, "sent")
		s.count(direct, st.DirectResent, "resent")
		s.count(direct, st.DirectAcks, "acknowledged")
		s.count(direct, st.DirectReceived, "received")
		s.count(callto, st.CalltoPuts, "written")
		s.count(callto, st.CalltoPinned, "pinned")
		for reason, n := range st.Drops {
			s.count(drops, n, reason.String())
		}
		s.count(readErrors, st.ReadErrors)
		s.count(refused, st.RefusedOut)
	}}
}
