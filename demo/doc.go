// Package demo is `node demo`: the whole line on one machine, measured and asserted.
//
// It starts a private DHT, a TURN server on 127.0.0.1 and ::1, and three devices, each a whole daemon with a home of its own in a
// temporary folder. They find each other by id, connect direct and relayed over both families, move files over every route, decline,
// cancel, and survive the relay's death in the middle of a transfer. Nothing is mocked and nothing leaves the loopback interface.
//
// Every stage asserts what it prints: a stage passes when the bytes arrived equal, by the route it is named for, for the
// reason it expects. A machine without IPv6 on its loopback fails the IPv6 stages and says so.
package demo
