package udp_test

import (
	"fmt"
	"net/netip"

	"traverse.internal/core/udp"
)

// An echo server for one batch.
func ExampleConn() {
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	server, _ := udp.Listen(loopback, udp.Options{})
	client, _ := udp.Listen(loopback, udp.Options{})
	defer server.Close()
	defer client.Close()

	out, pool := udp.NewSendBatch(), udp.NewPool()
	out.Add([]byte("hello"), server.LocalAddr(), netip.Addr{})
	client.Send(out)

	in, _ := server.Recv(pool)
	for i := range in.Len() {
		out.Add(in.Packet(i), in.From(i), in.To(i))
	}
	server.Send(out)
	pool.Put(in)

	in, _ = client.Recv(pool)
	fmt.Printf("%s\n", in.Packet(0))
	// Output: hello
}
