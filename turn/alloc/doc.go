// Package alloc holds what a TURN server remembers, as pure state: allocations by 5-tuple, their permissions, channels
// and peer connections, reservations, ports, quotas, and when each of them ends.
//
// Nothing here reads a clock, opens a socket, draws a random number, locks or blocks. Time and randomness come in as
// arguments, decisions go out as a [Verdict], whose value is the STUN error code to answer with. So the same calls
// always give the same answers, and the rules of RFC 8656 and RFC 6062 are tested by transcripts (testdata/*.txt) that
// run an hour in a millisecond.
//
// # Two tables
//
// A [Table] belongs to one shard of the server: it owns the allocations whose 5-tuple falls to that shard, and only that
// shard's packets look into it. A [Ledger] is what the shards have to agree on, none of it on the path of a packet: who
// holds how many allocations, which ports are taken, which even-port partners are waiting for their token, which
// connection ids are out.
//
//	shard 0: Table ─┐
//	shard 1: Table ─┼─ Ledger: quotas, Ports, reservations, connection ids
//	shard n: Table ─┘
//
// Neither is safe for concurrent use; the server has a lock per shard and one for the ledger, and holds them for
// arithmetic only.
//
// # Time
//
// Ends are of two kinds. A permission (300 s), a channel (600 s) and a reservation are compared with the time of the
// packet that asks, exactly. An allocation, and a peer connection that waits for its ConnectionBind, hold sockets, so
// somebody has to close those: they hang in a timer wheel with one-second slots and come out of [Table.Expire] at most
// one second late. Until it came out an allocation is alive.
//
// # Handles
//
// An [Allocation], a [Conn] and a [Reservation] carry a Handle, where the server hangs its sockets. The tables never look
// at it.
package alloc
