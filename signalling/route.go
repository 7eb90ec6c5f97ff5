package signalling

import (
	"context"

	"traverse.internal/identity"
)

// A Route carries sealed messages between devices. It knows nothing of what is in them.
//
// All methods are safe for concurrent use; Attach is called once, before the others.
type Route interface {
	// Name is one word for errors, logs and metrics: "direct", "slot", "callto".
	Name() string

	// Attach says where messages that arrive are delivered. The sink does the cryptography of a message (about 0.2 ms)
	// and does not block.
	Attach(sink Sink)

	// Send carries out toward out.To. For a request it goes on, sending again and collecting answers, until ctx ends;
	// it returns early when it has nothing to try. For an answer it returns when the answer was handed over, and at
	// once with nil when this route carries answers only by an Arrival's Reply. The error says what went wrong last.
	Send(ctx context.Context, out Outgoing) error

	// Serve delivers requests to the sink until ctx ends. Answers are delivered while Send runs, whether or not Serve
	// does.
	Serve(ctx context.Context) error
}

// Beside makes a route of Config.Routes begin together with the one before it: neither is cheaper.
func Beside(r Route) Route { return beside{r} }

type beside struct{ Route }

// Outgoing is a sealed message on its way.
type Outgoing struct {
	Kind   Kind // Request or Answer
	To     identity.DeviceID
	Sealed []byte
}

// A Sink takes what arrived. It keeps nothing of a.Sealed unless it copies it.
type Sink func(a Arrival)

// An Arrival is a sealed message that came by a route.
type Arrival struct {
	Sealed []byte

	// Received is called when the message is a request from a sender that is verified and allowed: only then may the
	// route tell the sender that it arrived. It may be nil.
	Received func()

	// Reply sends the sealed answer back the way the request came. It may be nil: then Send carries the answer.
	Reply func(ctx context.Context, sealed []byte) error
}

// Presence is both sides of saying where one is: it publishes for the contacts, and finds a contact's.
type Presence interface {
	// Find looks for a fresh record of peer until it finds one or ctx ends, and says what it saw last.
	Find(ctx context.Context, peer identity.DeviceID) Finding

	// Serve keeps this device's own record published until ctx ends.
	Serve(ctx context.Context) error
}

// A Finding is what was found of a device's presence.
type Finding uint8

// The findings, from worst to best.
const (
	FoundNothing Finding = iota // no record
	FoundStale                  // a record that has expired
	FoundFresh                  // a record that holds
)
