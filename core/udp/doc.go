// Package udp sends and receives datagrams in batches, with netip addresses and without allocating.
//
// One system call a packet is what a relay in user space spends its time on. On Linux a [Conn] receives up to
// [BatchLen] messages with one recvmmsg and sends as many with one sendmmsg, and a [Poller] waits for many sockets with one
// epoll; elsewhere it has the same shape and moves one at a time.
//
//	for {
//		n, err := poller.Wait(ready)
//		for _, r := range ready[:n] {
//			conn := r.Owner.(*udp.Conn)
//			in.Reset()
//			_, err := conn.Recv(in, udp.BatchLen)
//			for i := range in.Len() {
//				out.Add(in.Packet(i), udp.Route{To: destination})
//			}
//			drops := other.Send(out)
//		}
//	}
//
// A received packet lies in a slot with [Headroom] bytes in front and [Tailroom] behind it, so that a header and padding
// can be put around it in place and the same bytes sent on.
//
// # Trains
//
// Datagrams of one length in a row for one destination are given to the kernel as one message, a train (UDP_SEGMENT), and
// with Options.Trains they come from it as one (UDP_GRO). [SendBatch.Add] makes them by itself and [RecvBatch] takes them
// apart; [RecvBatch.Frame] says nil for a datagram that has others beside it, and [SendBatch.AddParts] puts the header in
// front of those without moving them. Whether the kernel can is asked once, with a train over loopback; one that it refuses
// later, because of a path that takes less or a device that cannot, goes out one by one in one more system call.
//
// # Who owns what
//
// [RecvBatch] and [SendBatch] belong to one goroutine at a time; the bytes added to a SendBatch are borrowed until Send
// returns. One goroutine may receive on a Conn at a time; any number may send. Close waits for nobody: the descriptor is
// closed by the last who uses it, so that its number never means another file meanwhile.
//
// # Sockets
//
// [ListenShards] opens several sockets on one address, one for each core, among which the kernel spreads the senders: a
// sender always meets the same socket. The first is bound alone and only then opened for sharing, so a second process that
// wants the port is told "address in use" instead of silently taking a part of the traffic.
//
// A socket on an unspecified address remembers at which address each datagram arrived ([RecvBatch.To]), so that an
// answer can leave from there. An IPv6 socket never sees IPv4.
//
// [Conn.Toward] opens a second socket at an address, connected to one peer: sending by it spares the kernel looking up the way.
//
// With Options.Errors what came back by ICMP waits in [Conn.NextError]. The kernel also fails one later call with it, which
// is why an error of a Send counts for a datagram only when it comes twice.
package udp
