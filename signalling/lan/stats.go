package lan

import "sync/atomic"

// stats are the Route's counters.
type stats struct {
	calls, nobody, answered               atomic.Uint64
	replied, unknown, limited             atomic.Uint64
	received, flooded, strange, malformed atomic.Uint64
	paused                                atomic.Uint64
}

// Stats is a copy of the counters since Open.
type Stats struct {
	Calls    uint64 // own calls that looked for a contact on the links
	Nobody   uint64 // and those that found nobody
	Answered uint64 // answers that came back

	Replied uint64 // queries for us that were answered
	Limited uint64 // and those that were not, because there were too many
	Unknown uint64 // queries for somebody else, of other programs too

	Received  uint64 // requests handed on
	Flooded   uint64 // and those dropped because there were too many
	Strange   uint64 // datagrams with a hint or a tag that nobody of ours has
	Malformed uint64 // what makes no sense, to the port of ours
	Paused    uint64 // times that a socket was left alone because too much came
}

// Stats returns the counters.
func (r *Route) Stats() Stats {
	c := &r.stats
	return Stats{
		Calls: c.calls.Load(), Nobody: c.nobody.Load(), Answered: c.answered.Load(),
		Replied: c.replied.Load(), Limited: c.limited.Load(), Unknown: c.unknown.Load(),
		Received: c.received.Load(), Flooded: c.flooded.Load(), Strange: c.strange.Load(), Malformed: c.malformed.Load(),
		Paused: c.paused.Load(),
	}
}
