// Package pushwire is the wire format of signalling by push: what a device, its relay and a caller say to each other.
//
// A connection is TLS 1.3 with the protocol of ALPN, at any stream listener of the relay. Inside are frames: a byte that says what it
// is, two bytes with the length of the body, and the body. docs/protocol/push.md is the specification, with vectors.
//
// The package is bytes and keys only: no network, no clock, no state but a Reader's buffer.
package pushwire
