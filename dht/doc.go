// Package dht is presence and sealed messages between devices over a DHT.
//
// The DHT is BitTorrent's Mainline, or a private one made of one's own nodes; which, is said by a Mode and by nothing
// else. A Node is the membership in one: it answers others, keeps their items (BEP 44) and gets and puts ours. A
// Courier is what a device does with it: it publishes where the device can be found, for its contacts only, and carries
// signalling by three Routes, cheapest first:
//
//	direct  a datagram to the address in the contact's presence record, on the DHT's own socket: one round trip
//	slot    an item under a key that only the two devices can derive, for an hour; both sides poll
//	callto  an item under a key that anyone can derive who knows the device's id: first contact
//
// Put together:
//
//	node, err := dht.Listen(dht.Config{Mode: dht.Private, Listen: addr, Bootstrap: []string{"192.0.2.1:17000"}})
//	courier, err := dht.NewCourier(node, dht.CourierConfig{Device: device, Peers: contacts})
//	signaler, err := signalling.New(signalling.Config{
//		Device: device, Allowed: isContact, Peers: contacts, Routes: courier.Routes(), Presence: courier,
//	})
//
// The DHT itself is anacrolix/dht v2, and appears in no other package. One packet from anybody ends or fills a process
// that runs it bare, in six known ways, so it is kept behind a guard: conn.go reads the socket, bencode.go and guard.go
// decide what the library may see, policy.go with whom it may speak. What the library leaves to chance is our own: walks
// that end (walk.go), a get that survives any answer (get.go), a put that knows how many nodes took the item (put.go), a
// store with limits (store.go), a membership that heals by itself (join.go).
//
// The bytes, who can see what, and what polling costs are in docs/protocol/signalling.md, with vectors. Nothing is
// logged; what happens is in Stats. Everything that grows has a limit with its name.
package dht
