// Package connmgr is the connection manager: one session per device, named channels on it.
//
// Ask a [Manager] for a channel to a device and it answers with one: on the session that already exists, or on one it
// makes by gathering addresses, exchanging sealed offers through a [Signaler], negotiating a path, and securing it.
// Everybody who asks for the same device at the same time shares one attempt and gets the same session or the same error.
//
// # Who decides what
//
// The package decides only about sessions: which of them is current, when one is replaced, when a dead link is replaced by a
// new one. Paths come from a [Pathfinder] (core/ice in the product, pipes in tests), messages travel by a Signaler (signalling
// over a DHT in the product), and both are interfaces declared here, so that connmgr knows neither.
//
// # Roles
//
// Whoever calls is the offerer: TLS server, sends HELLO, uses the upper half of the channel numbers. Whoever is called is the answerer.
// The roles belong to the session for life; a link that later replaces a dead one has roles of its own.
//
// # Both at once
//
// Two devices that call each other at the same moment make two attempts, and neither is dropped before one has registered.
// When both register, the offer of the lower DeviceID wins on both sides and the other session drains: it takes no new
// channels and ends with its last one. A session is only judged so against one that still answers a beacon; a
// dead one is replaced.
//
// # When a link dies
//
// The session stays for the mux's linger time. If it carries channels, its offerer calls again at once and, should that side be
// unable to, the other side some seconds later; the new link is attached with RESUME and no channel notices more than a pause.
//
// # Relay first, then better
//
// A session over a relay is usable at once, and moves to a direct path when there is one: an attempt for direct paths alone (an [Upgrader]'s)
// ends in a link that is attached while the old one still carries the session. When the direct path dies the session goes back as it
// would after any dead link. The lower DeviceID tries, rarely where tries fail and more rarely where direct paths die.
package connmgr
