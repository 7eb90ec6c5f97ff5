// Package probe acts as a TURN client and says how far it got with a server, and what stopped it.
//
// [Run] takes the steps that a real client takes, in their order, over one transport: a Binding, allocations in the wanted
// families, a permission, a channel, data both ways, and over TCP and TLS the peer connection of RFC 6062. The other end
// of the data is a second allocation at the same server; a server that refuses its own relayed addresses as peers is asked
// for a socket of this machine instead. Allocations are given back.
//
// No goroutine here, and no state outside a Run: what does not come before the deadline did not come.
package probe
