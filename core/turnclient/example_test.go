package turnclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"traverse.internal/core/turnclient"
)

// A port at the relay that greets whoever dials it from 192.0.2.1.
func Example() {
	ctx := context.Background()
	c, err := turnclient.Dial(ctx, turnclient.Config{Host: "relay.example:3478", Username: "u", Password: "p"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	a, err := c.Allocate(ctx, turnclient.IPv6)
	if errors.Is(err, turnclient.ErrFamily) {
		a, err = c.Allocate(ctx, turnclient.IPv4)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	if err := a.Permit(ctx, netip.MustParseAddr("192.0.2.1")); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("dial", a.Relayed())
	conn, peer, err := a.Accept(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "hello, "+peer.String())
}
