package udp_test

import (
	"fmt"
	"net/netip"

	"traverse.internal/core/udp"
)

// An echo server for one batch.
func ExamplePoller() {
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	server, _ := udp.Listen(loopback, udp.Options{})
	client, _ := udp.Listen(loopback, udp.Options{})
	defer server.Close()
	defer client.Close()
	var stats udp.Stats
	poller, _ := udp.NewPoller(&stats)
	defer poller.Close()
	_ = poller.Add(server, server)
	_ = poller.Add(client, client)

	in, out := udp.NewRecvBatch(&stats), udp.NewSendBatch(&stats)
	out.Add([]byte("hello"), udp.Route{To: server.LocalAddr()})
	client.Send(out)

	ready := make([]udp.Ready, 8)
	_, _ = poller.Wait(ready) // the server has something
	_, _ = server.Recv(in, udp.BatchLen)
	for i := range in.Len() {
		out.Add(in.Packet(i), udp.Route{To: in.From(i), From: in.To(i)})
	}
	server.Send(out)

	_, _ = poller.Wait(ready)
	in.Reset()
	_, _ = client.Recv(in, udp.BatchLen)
	fmt.Printf("%s\n", in.Packet(0))
	// Output: hello
}
