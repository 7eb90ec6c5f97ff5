// Package relay carries signalling through the relay of the device that is called.
//
// A device keeps one connection to its own relay and registers there the mailboxes that its contacts may hand in at. Which relay that is
// stands in its presence records. Who calls hands its sealed request to that relay, which pushes it to the device at once; the answer comes back
// the same way. So a device behind any NAT is asked in one round trip, and nobody polls.
//
// The relay learns from the mailboxes neither who calls nor who is called beyond which of its users it is: docs/protocol/push.md. A Route is
// the client's side; package turn/push is the relay's, core/pushwire what they say.
package relay
