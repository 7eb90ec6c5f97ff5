// Package arq carries one reliable stream of bytes, each way, over datagrams that get lost.
//
// It is what stands on a secured UDP path where TCP would stand on its own: [New] takes [Datagrams], in the product the
// records of a DTLS connection, and returns a [Stream], a net.Conn with CloseWrite. Nothing here is encrypted or
// authenticated; that is the layer below. docs/protocol/udp.md has the bytes.
//
// # How it works
//
// A packet has a number that is never used twice and carries frames: bytes of the stream with their offset, which packets
// have come (ACK), how far the peer may send (WINDOW), the end (FIN). What is lost goes out again in a packet of another
// number, so that every acknowledgement says which transmission it is for (as QUIC does, RFC 9002, whose loss detection
// this follows).
//
// How fast is decided by a model of the path, not by its losses: the highest rate at which bytes were delivered lately
// and the shortest round trip (after BBR, Cardwell et al. 2016; bbr.go). A radio link that drops one packet in a hundred
// keeps its speed, where the window of TCP Reno would shrink to 13 packets; and the queue at the bottleneck stays
// short, which is what interactive channels want. When more than a twelfth of a round's packets is lost the path is
// taken for overloaded all the same, and the rate shrinks.
//
// A Write returns when its bytes are taken, and they are taken only as fast as they leave: what is queued here, unsent, is
// a few milliseconds' worth, because the mux above decides the order of what it has not yet written.
//
// # Limits
//
// Unacknowledged and unread bytes: Config.Window each (8 MiB), in chunks of 64 KiB from a pool, as many as are in use. Holes in
// what has come: 512. Packets under way: as many as the window holds, 80 bytes each. A peer that breaks these rules ends
// the stream.
//
// # Goroutines
//
// readLoop takes datagrams, writeLoop makes them and keeps the time. Both end with the stream, at Close, when the datagrams
// end, or when nothing is acknowledged for Config.Patience.
package arq
