// Package dtlsserver is the server's side of DTLS 1.2 (RFC 6347) as pure state: datagrams in, datagrams out.
//
// There is no socket here, no goroutine and no clock. Whoever has the socket asks in this order:
//
//	Gate.Check      is this a ClientHello, and does its cookie prove where it comes from? Keeps nothing.
//	Begin           the handshake of one client whose address is proven; Handshake.Flight is what it is sent
//	Handshake.Take  the client's last flight: a Session
//	Session.Next    takes records apart, in place
//	Session.Seal    makes them
//
// A flight that was lost is asked for again by the client's own timer, and sent again as it was. A client that has got a part of
// it may ask no more (GnuTLS), so whoever has a clock sends Handshake.Flight again after a second without a session: RFC 6347 §4.2.4.
//
// What is spoken: ECDHE over X25519, P-256 and P-384, signed with the certificate's key (ECDSA, RSA or Ed25519), AES-GCM,
// extended master secret, ALPN. No DTLS 1.0, no renegotiation, no resumption, no client certificates, no compression. A
// ClientHello has to come in one piece, and so have the client's other messages, none of which is longer than 200 bytes.
package dtlsserver
