// Package signalling lets two devices that know each other's id exchange an offer and an answer before there is any
// connection between them.
//
// The messages are carriage-free: an envelope is sealed to the recipient (HPKE) and signed by the sender inside, so it
// can go by any way that moves bytes, by several ways at once, and be taken once. The ways are Routes; those over the
// DHT are in package dht. A Signaler calls, by all routes together, and answers:
//
//	s, err := signalling.New(signalling.Config{Device: device, Allowed: isContact, Peers: contacts, Routes: routes})
//	go s.Serve(ctx, func(ctx context.Context, from identity.DeviceID, offer []byte) ([]byte, error) {
//		return negotiate(ctx, from, offer) // an error means silence
//	})
//	answer, err := s.Call(ctx, peer, offer)
//
// Nothing happens for a sender that is not verified and allowed: its message is opened, counted and dropped, and it
// learns nothing, not even that it was received. A request's id is remembered until the request can no longer be valid,
// so that a replay is met with the first answer at most. What is remembered is bounded, and when it is full strangers
// are turned away before contacts.
//
// Two files are pure: envelope.go knows no clock and no network, replay.go takes the time as an argument. The bytes
// are in docs/protocol/signalling.md, with vectors. The package logs nothing and starts no goroutine that outlives the Call
// or Serve it belongs to.
package signalling
