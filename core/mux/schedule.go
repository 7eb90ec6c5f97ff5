package mux

import "fmt"

// Priority says which of a session's channels go first when all want to send. It is local: the peer is not told, and
// has its own opinion of the other direction.
type Priority uint8

// The priorities.
const (
	Normal      Priority = iota // the default
	Interactive                 // somebody waits for each short message: goes before everything but session messages
	Bulk                        // takes what others leave, and a fifth of what channels with a backlog send in any case
)

func (p Priority) String() string {
	switch p {
	case Normal:
		return "normal"
	case Interactive:
		return "interactive"
	case Bulk:
		return "bulk"
	}
	return fmt.Sprintf("priority %d", uint8(p))
}

// SetPriority says when the channel is to be served, from its next turn on. It may be called at any time.
func (c *Channel) SetPriority(p Priority) {
	c.s.mu.Lock()
	defer c.s.unlock()
	c.priority = p
}

// place is where a channel waits for the writer.
type place uint8

const (
	placeNone    place = iota
	placeUrgent        // interactive
	placeFresh         // had nothing queued before: most likely a short message that somebody waits for
	placeBacklog       // has had its turn and had more
	placeBulk
)

// bulkEvery is how many turns the backlog has for one of bulk's, when both wait.
const bulkEvery = 4

// ring is the order in which channels with something queued are served: interactive ones, fresh ones, then those with a
// backlog and bulk in turn, one frame each. So a short message waits for the frame that is being written and not for
// one of every bulk channel. It is pure: a decision about order.
type ring struct {
	urgent  queue[*Channel]
	fresh   queue[*Channel]
	backlog queue[*Channel]
	bulk    queue[*Channel]
	// owed says that the last batch was filled without a turn for backlog or bulk; their first channel then comes first,
	// so that short messages cannot starve them.
	owed bool
	// run counts the turns of the backlog while bulk waits.
	run int
}

// at returns the queue of a place.
func (r *ring) at(p place) *queue[*Channel] {
	switch p {
	case placeUrgent:
		return &r.urgent
	case placeFresh:
		return &r.fresh
	case placeBacklog:
		return &r.backlog
	}
	return &r.bulk
}

// put adds a channel at the end of a place.
func (r *ring) put(c *Channel, p place) {
	c.place = p
	r.at(p).push(c)
}

// enter adds a channel that has something to send, unless it waits already.
func (r *ring) enter(c *Channel) {
	switch {
	case c.place != placeNone:
	case c.priority == Interactive:
		r.put(c, placeUrgent)
	case c.priority == Bulk:
		r.put(c, placeBulk)
	default:
		r.put(c, placeFresh)
	}
}

// short returns the first channel that is likely to have a short message, and nil when there is none.
func (r *ring) short() *Channel {
	switch {
	case r.urgent.len() > 0:
		return *r.urgent.front()
	case r.fresh.len() > 0:
		return *r.fresh.front()
	}
	return nil
}

// long returns the first channel of those with a backlog and bulk, and nil when there is none.
func (r *ring) long() *Channel {
	switch {
	case r.bulk.len() > 0 && (r.backlog.len() == 0 || r.run >= bulkEvery):
		return *r.bulk.front()
	case r.backlog.len() > 0:
		return *r.backlog.front()
	}
	return nil
}

// longs returns how many channels long chooses from.
func (r *ring) longs() int { return r.backlog.len() + r.bulk.len() }

// served moves the first channel of its queue to the end of the queue for what it has more, or out when it has nothing
// more.
func (r *ring) served(c *Channel, more bool) {
	from := c.place
	r.leave(c)
	switch {
	case from == placeBulk:
		r.run = 0
	case from == placeBacklog && r.bulk.len() > 0:
		r.run++
	}
	switch {
	case !more:
	case c.priority == Bulk:
		r.put(c, placeBulk)
	case c.priority == Interactive && from == placeUrgent:
		r.put(c, placeUrgent)
	default:
		r.put(c, placeBacklog)
	}
}

// demote moves an interactive or fresh channel whose next body is long to those that have one.
func (r *ring) demote(c *Channel) {
	r.leave(c)
	if c.priority == Bulk {
		r.put(c, placeBulk)
		return
	}
	r.put(c, placeBacklog)
}

// leave takes the first channel out of its queue.
func (r *ring) leave(c *Channel) {
	r.at(c.place).pop()
	c.place = placeNone
}

func (r *ring) empty() bool { return r.short() == nil && r.longs() == 0 }
