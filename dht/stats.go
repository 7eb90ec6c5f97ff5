package dht

import "sync/atomic"

// stats are the node's counters, the courier's among them.
type stats struct {
	gets, found, puts, stored, putsFailed atomic.Uint64
	queriesIn, queriesOut, timeouts       atomic.Uint64
	readErrors, refusedOut, doubted       atomic.Uint64
	drops                                 [numDropReasons]atomic.Uint64

	polls, presencePuts, presenceFails, lookups      atomic.Uint64
	directSent, directResent, directAcks, directRecv atomic.Uint64
	calltoPuts, calltoPinned                         atomic.Uint64
}

// Stats is a copy of the counters since Listen, and of what is kept now.
type Stats struct {
	Nodes, GoodNodes int // in the table; answered within 15 minutes
	Items, ItemBytes int // kept for the network

	Gets, Found              uint64 // lookups, and those that found an item
	Puts, Stored, PutsFailed uint64 // writes; copies that nodes took; writes that no node took
	QueriesIn, QueriesOut    uint64
	Timeouts                 uint64 // queries nobody answered
	ReadErrors               uint64
	RefusedOut               uint64 // packets not sent because the mode refuses the address
	Doubted                  uint64 // nodes not asked, because who named them had named too many that do not answer

	Polls                       uint64 // gets of mailboxes, idle or not: part of Gets
	PresencePuts, PresenceFails uint64 // own records written; that no node took
	Lookups                     uint64 // of contacts' presence; two or three gets each
	DirectSent, DirectResent    uint64 // requests asked directly; and again
	DirectAcks, DirectReceived  uint64 // receipts for ours; requests and answers that came directly
	CalltoPuts, CalltoPinned    uint64 // first-contact writes; boxes found blocked

	Drops map[DropReason]uint64 // packets dropped, by reason; reasons that never occurred are absent
}

// Stats returns the counters.
func (n *Node) Stats() Stats {
	c, lib := &n.stats, n.server.Stats()
	items, size := n.store.size()
	s := Stats{
		Nodes: lib.Nodes, GoodNodes: lib.GoodNodes, Items: items, ItemBytes: size,
		Gets: c.gets.Load(), Found: c.found.Load(), Puts: c.puts.Load(), Stored: c.stored.Load(), PutsFailed: c.putsFailed.Load(),
		QueriesIn: c.queriesIn.Load(), QueriesOut: c.queriesOut.Load(), Timeouts: c.timeouts.Load(),
		ReadErrors: c.readErrors.Load(), RefusedOut: c.refusedOut.Load(), Doubted: c.doubted.Load(),
		Polls: c.polls.Load(), PresencePuts: c.presencePuts.Load(), PresenceFails: c.presenceFails.Load(), Lookups: c.lookups.Load(),
		DirectSent: c.directSent.Load(), DirectResent: c.directResent.Load(), DirectAcks: c.directAcks.Load(), DirectReceived: c.directRecv.Load(),
		CalltoPuts: c.calltoPuts.Load(), CalltoPinned: c.calltoPinned.Load(),
		Drops: map[DropReason]uint64{},
	}
	for r := pass + 1; r < numDropReasons; r++ {
		if n := c.drops[r].Load(); n > 0 {
			s.Drops[r] = n
		}
	}
	return s
}
