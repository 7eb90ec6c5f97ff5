package relay

import (
	"errors"
	"sync/atomic"
	"time"
)

// stats are the Route's counters.
type stats struct {
	registered, failed               atomic.Uint64
	received, flooded                atomic.Uint64
	pushed, notHere, busy, unreached atomic.Uint64
	answers                          atomic.Uint64
}

// Stats is a copy of the counters since New.
type Stats struct {
	Up         int    // relays where this device is registered now
	Registered uint64 // registrations made
	Lost       uint64 // registrations that ended or did not come about

	Received uint64 // requests that came by push
	Flooded  uint64 // and those dropped because there were too many

	Pushed    uint64 // own requests that a relay took and pushed
	NotHere   uint64 // and those whose device the relay did not have
	Busy      uint64 // and those that it refused for a limit
	Unreached uint64 // and those that came to no relay
	Answers   uint64 // answers that came back
}

// Stats returns the counters.
func (r *Route) Stats() Stats {
	c := &r.stats
	s := Stats{
		Registered: c.registered.Load(), Lost: c.failed.Load(), Received: c.received.Load(), Flooded: c.flooded.Load(),
		Pushed: c.pushed.Load(), NotHere: c.notHere.Load(), Busy: c.busy.Load(), Unreached: c.unreached.Load(), Answers: c.answers.Load(),
	}
	for _, st := range r.States() {
		if st.Up {
			s.Up++
		}
	}
	return s
}

// count counts why a hand-in failed.
func (r *Route) count(err error) {
	switch {
	case err == nil:
	case errors.Is(err, errNotHere):
		r.stats.notHere.Add(1)
	case errors.Is(err, errBusy):
		r.stats.busy.Add(1)
	default:
		r.stats.unreached.Add(1)
	}
}

// State is how the registration at a relay of our own is.
type State struct {
	Relay string // host:port
	Up    bool
	Since time.Time // of the registration, or of its end; zero: never yet
	Err   error     // why it is not up; nil: it is, or is being made
}

// States returns them in the order in which the relays were given.
func (r *Route) States() []State {
	var out []State
	for _, k := range r.kept() {
		k.mu.Lock()
		out = append(out, State{k.relay.Address, k.link != nil, k.since, k.err})
		k.mu.Unlock()
	}
	return out
}

// Changed says that the network has: registrations are tried, or looked after, at once.
func (r *Route) Changed() {
	for _, k := range r.kept() {
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
}

// Refused reports whether an error of a State says that the relay does not know us.
func Refused(err error) bool { return errors.Is(err, errRefused) }
