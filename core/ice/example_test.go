package ice_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"traverse.internal/core/ice"
)

// Two devices in one process. The offers would travel sealed, and TLS would be the first to write.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cfg := ice.Config{Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Loopback: true}
	laptop, err := ice.Listen(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer laptop.Close()
	phone, err := ice.Listen(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer phone.Close()

	call, err := laptop.Gather(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer call.Close()
	offer, answer := call.Offer(), make(chan ice.Offer)
	go func() { // the phone
		at, err := phone.Gather(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer at.Close()
		if err := at.Permit(ctx, offer); err != nil {
			fmt.Println(err)
			return
		}
		answer <- at.Offer()
		path, err := at.Negotiate(ctx, ice.Answerer, offer)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer path.Close()
		fmt.Fprint(path.Conn, "\x16 hello")
	}()
	path, err := call.Negotiate(ctx, ice.Offerer, <-answer)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer path.Close()
	fmt.Println(path.Route.Kind, path.Route.Via, path.Route.Reason)
	fmt.Printf("%q\n", path.Head[:1])
	// Output:
	// direct host/tcp DIRECT_LAN
	// "\x16"
}
