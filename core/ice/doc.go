// Package ice finds a path to another device and hands it over as a bare TCP connection, saying which way it goes and why.
//
// Two devices that can already exchange a short message exchange offers: credentials, addresses at which they can be
// reached, relayed addresses that a TURN server lent them, and which paths they want at all. Each then tries to reach the
// other at all of those, and the best connection that works both ways wins (ICE, RFC 8445, over TCP, RFC 6544). An Endpoint
// is the long-lived part, with one TCP port; an Attempt is one such exchange; a Path is its result.
//
//	caller                                        called
//	at := e.Gather(ctx)
//	at.Offer()                  ── offer ──→      at := e.Gather(ctx); at.Permit(ctx, offer)
//	                            ←─ answer ──      at.Offer()
//	at.Negotiate(ctx, Offerer, answer)            at.Negotiate(ctx, Answerer, offer)
//	              ←── connection, checks in RFC 4571 frames ──→
//	              ── last check, with USE-CANDIDATE ──→
//	              ←─ its answer, then TLS at once ──
//	Path{Conn, Head: first TLS bytes}             Path{Conn}
//
// The ICE state machine is pion's; every socket is ours. The agent sees one net.PacketConn per family (mailbox) and decides
// on pairs, nomination and roles; what it writes goes to the connection that leads to the address it names. That is why the
// result can be a *net.TCPConn that splice, sendfile and kernel TLS accept, while the agent's own connection is a datagram
// socket that drops when its reader is slow.
//
// The rule that makes the hand-over exact is in exchange: over TCP nothing is repeated, and the nomination is the offerer's
// last request. When the answerer has that and the answers to its own requests, no frame is on its way to it any more, so
// it takes the socket at that byte and speaks TLS, in the same round trip. The offerer answers what is left and takes over
// at the first byte that begins a TLS record (0x14 to 0x17); a frame begins with 0x00 to 0x02. After that nothing of ICE is
// left: liveness is the mux's beacon and TCP's own.
//
// Direct connections are dialled from the listeners' port, so that both sides' dials can meet in one (simultaneous open)
// and pass a NAT that the peer's address was learnt through. If that pair of addresses is taken, by another attempt or by a
// connection that was closed lately, a port of its own serves. Relayed connections start a little later than direct ones
// and so win only where those do not work; a relay is dialled again while it refuses, since its owner may not have
// permitted us yet.
//
// A stranger who reaches the port has 5 s to send one frame, which must be a check keyed with the password of an attempt
// that is under way; all else is closed and counted. See Config for the limits, Stats for the counters, and
// docs/protocol/offer.md for the bytes of an Offer.
package ice
