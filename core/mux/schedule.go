package mux

// place is where a channel waits for the writer.
type place uint8

const (
	placeNone    place = iota
	placeFresh         // had nothing queued before: most likely a short message that somebody waits for
	placeBacklog       // has had its turn and had more
)

// ring is the order in which channels with something queued are served: fresh ones first, then those with a backlog in
// turn, one frame each. So a short message waits for the frame that is being written and not for one of every bulk
// channel. It is pure: a decision about order.
type ring struct {
	fresh   queue[*Channel]
	backlog queue[*Channel]
	// owed says that the last batch was filled without a turn for the backlog; its first channel then comes first, so
	// that fresh ones cannot starve it.
	owed bool
}

// enter adds a channel that has something to send, unless it waits already.
func (r *ring) enter(c *Channel) {
	if c.place == placeNone {
		c.place = placeFresh
		r.fresh.push(c)
	}
}

// served moves the first channel of its queue to the end of the backlog, or out when it has nothing more.
func (r *ring) served(c *Channel, more bool) {
	if c.place == placeFresh {
		r.fresh.pop()
	} else {
		r.backlog.pop()
	}
	c.place = placeNone
	if more {
		c.place = placeBacklog
		r.backlog.push(c)
	}
}

func (r *ring) empty() bool { return r.fresh.len()+r.backlog.len() == 0 }
