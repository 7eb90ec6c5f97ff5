package turn_test

import (
	"context"
	"fmt"
	"net/netip"

	"traverse.internal/turn"
)

// A server on loopback for one user, whose relayed addresses may be peers of each other.
func ExampleServer() {
	loopback := netip.MustParseAddr("127.0.0.1")
	s, err := turn.New(turn.Config{
		ListenUDP: []netip.AddrPort{netip.AddrPortFrom(loopback, 0)},
		ListenTCP: []netip.AddrPort{netip.AddrPortFrom(loopback, 0)},
		Realm:     "example",
		Users:     map[string]string{"user": "password"},
		RelayIP4:  loopback,
		OwnRelays: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx) }()

	fmt.Println("listens on", s.UDPAddrs()[0].Addr())
	cancel()
	fmt.Println("ended:", <-done)
	// Output:
	// listens on 127.0.0.1
	// ended: <nil>
}
