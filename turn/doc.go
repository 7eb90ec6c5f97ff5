// Package turn is a TURN server: RFC 8656 relays over UDP and TCP, and the TCP allocations of RFC 6062.
//
// A client behind a NAT asks the server for an address of its own, a relayed transport address, and says whom it permits
// to use it. What permitted peers send there the server hands to the client, and the other way:
//
//	client ──UDP or TCP──> listener │ relayed address ──UDP──> peer     ChannelData, Send and Data
//	client ──TCP control─> listener │ relayed address <──TCP── peer     ConnectionAttempt, Connect
//	client ──TCP data────> listener │            (joined with the peer's connection by ConnectionBind)
//
// # Shape
//
// What is remembered, and for how long, is decided in turn/alloc, which has no sockets. This package has the sockets.
// There is a shard for each core, with a table of allocations and a lock. A client's 5-tuple belongs to one shard: over
// UDP because the kernel always gives a sender to the same of the shared listening sockets, over TCP by a hash. So a
// packet takes one lock that no other core wants, and only while the table is asked; sockets are used after it is
// released. What shards have in common (quotas, ports, reserved ports, connection ids) has another lock, never taken for a
// packet, and never together with a shard's.
//
//	listen.go shard.go stream.go   sockets in, datagrams and frames out of them
//	request.go auth.go nonce.go    one request: understood, authenticated, answered
//	allocate.go dual.go refresh.go mobility.go permit.go channel.go send.go data.go
//	tcp_connect.go tcp_attempt.go tcp_bind.go tcp_relay.go
//	discovery.go                   Binding where NAT behaviour can be discovered
//	policy.go limits.go users.go   who may be a peer, who may ask how much, who is who
//	tls.go proxy.go                streams that are secured, or come through a proxy
//	reload.go drain.go sessions.go what operators do while it runs
//
// The path of a packet, ChannelData in both directions, allocates nothing and logs nothing: a packet that cannot be
// relayed is counted by its [DropReason].
//
// # In operation
//
// [Server.Reload] changes users, peer policy and limits without touching a socket; what the new policy denies has ended when
// it returns. [Server.Drain] lets no allocation in any more. A certificate follows its files. Over TLS nothing is spliced:
// data connections are copied through pooled buffers.
//
// # Safe as it comes
//
// Without users nobody gets a relay. Whoever is not in [Config.AllowPeers] and has a special-purpose address (loopback,
// private, link-local, multicast, documentation, the cloud's metadata services, our own), in whatever IPv6 disguise, is
// refused as a peer. Nothing is remembered about a client before it is authenticated: nonces are computed, not stored.
//
// # Choices the RFCs leave open
//
//   - Password algorithms SHA-256 and MD5 are offered, and user name anonymity, but not in answer to a datagram of less
//     than 28 bytes. An Allocate as short asks for nothing, and gets 400 before any challenge.
//   - 438 comes before the integrity check (RFC 5389's order), which makes stale requests cheap to refuse.
//   - A nonce is bound to the client's address and port. ConnectionBind may use the one of its control connection.
//   - The relay port of a TCP allocation is bound at once and listens from the first permission on. Until then a peer
//     is refused, which clients retry; accepting and closing it, as RFC 6062 §5.3 has it, ends their attempt for good.
//   - DONT-FRAGMENT is obeyed on Linux; elsewhere it is not supported: 420, as RFC 8656 §7.2 asks for.
//   - A dual allocation is charged twice, an address each. TCP allocations have one family: ADDRESS-ERROR-CODE says 440
//     for the other.
//   - Channel numbers up to 0x7fff are bound, as RFC 5766 had it, because coturn's tools draw from all of them;
//     [Config.StrictChannels] keeps to RFC 8656's.
//   - Every answer to an authenticated request carries MESSAGE-INTEGRITY, errors and ConnectionBind's included.
package turn
