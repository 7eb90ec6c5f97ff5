package dht

import "fmt"

// A DropReason says why a packet went no further. It is a metric label, never an error: whoever sends packets chooses
// how many.
type DropReason uint8

// The reasons.
const (
	pass            DropReason = iota // not dropped
	DropTooLarge                      // longer than any packet of ours or of the DHT's
	DropForeign                       // neither the DHT's nor a direct message
	DropMalformed                     // not strict bencode, or a field of a type or length that is not the field's
	DropUnknown                       // a query we have no use for; its name goes no further than this
	DropIncomplete                    // a query without its arguments, an answer without its body
	DropAddress                       // from or to an address the mode refuses
	DropFlood                         // more queries than we serve
	DropDirect                        // a direct message that no contact of ours can have sent
	DropDirectFlood                   // more direct messages than a contact may send, or than we get through
	numDropReasons
)

func (r DropReason) String() string {
	names := [numDropReasons]string{
		"pass", "too_large", "foreign", "malformed", "unknown_query", "incomplete", "address", "flood", "direct_unknown", "direct_flood",
	}
	if r >= numDropReasons {
		return fmt.Sprintf("DropReason(%d)", uint8(r))
	}
	return names[r]
}
