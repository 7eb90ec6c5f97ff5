package dht_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"traverse.internal/dht"
	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// Two devices with a node each, which are all of their private DHT.
func Example() {
	laptop, _ := identity.New()
	phone, _ := identity.New()

	up := func(device *identity.Device, contact identity.DeviceID, bootstrap ...string) (*dht.Node, *signalling.Signaler) {
		node, err := dht.Listen(dht.Config{Mode: dht.Private, Listen: netip.MustParseAddrPort("127.0.0.1:0"), Bootstrap: bootstrap})
		if err != nil {
			panic(err)
		}
		contacts := func() []identity.DeviceID { return []identity.DeviceID{contact} }
		courier, err := dht.NewCourier(node, dht.CourierConfig{Device: device, Peers: contacts})
		if err != nil {
			panic(err)
		}
		signaler, err := signalling.New(signalling.Config{
			Device: device, Allowed: func(id identity.DeviceID) bool { return id == contact },
			Peers: contacts, Routes: courier.Routes(), Presence: courier,
		})
		if err != nil {
			panic(err)
		}
		return node, signaler
	}
	laptopNode, calls := up(laptop, phone.ID())
	phoneNode, answers := up(phone, laptop.ID(), laptopNode.Addr().String())
	defer laptopNode.Close()
	defer phoneNode.Close()

	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		_ = answers.Serve(ctx, func(_ context.Context, from identity.DeviceID, offer []byte) ([]byte, error) {
			fmt.Printf("the phone is called by the laptop: %v, %q\n", from == laptop.ID(), offer)
			return []byte("here I am"), nil
		})
	})
	answer, err := calls.Call(ctx, phone.ID(), []byte("where are you?"))
	fmt.Printf("the laptop hears %q, %v\n", answer, err)
	cancel()
	serving.Wait()
	// Output:
	// the phone is called by the laptop: true, "where are you?"
	// the laptop hears "here I am", <nil>
}
