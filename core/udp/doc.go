// Package udp sends and receives datagrams in batches, with netip addresses and without allocating.
//
// One system call a packet is what a relay in user space spends its time on. On Linux a [Conn] receives up to
// [BatchLen] datagrams with one recvmmsg and sends as many with one sendmmsg; elsewhere it has the same shape and moves
// one at a time.
//
//	pool := udp.NewPool()
//	for {
//		in, err := conn.Recv(pool) // waits; holds no memory while it waits
//		for i := range in.Len() {
//			out.Add(in.Packet(i), destination, netip.Addr{})
//		}
//		dropped := other.Send(out)
//		pool.Put(in)
//	}
//
// A received packet lies in a slot with [Headroom] bytes in front and [Tailroom] behind it, so that a header and padding
// can be put around it in place and the same bytes sent on.
//
// # Who owns what
//
// Recv borrows a [RecvBatch] from the pool at the moment the socket turns readable; the caller puts it back. Many sockets
// with nothing to say therefore cost no buffers. A [SendBatch] belongs to one goroutine at a time; the bytes added to it
// are borrowed until Send returns. One goroutine may receive on a Conn at a time; any number may send.
//
// # Sockets
//
// [ListenShards] opens several sockets on one address, one for each core, among which the kernel spreads the senders: a
// sender always meets the same socket. The first is bound alone and only then opened for sharing, so a second process that
// wants the port is told "address in use" instead of silently taking a part of the traffic.
//
// A socket on an unspecified address remembers at which address each datagram arrived ([RecvBatch.To]), so that an
// answer can leave from there. An IPv6 socket never sees IPv4.
package udp
