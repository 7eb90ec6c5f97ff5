// Package testnet makes an Internet for tests: a core that routes, and sites at it, each a home or an office with its hosts
// behind what stands between them and the Internet: nothing, one of the usual kinds of NAT, or a filter.
//
// Everything is real but small: namespaces, veth pairs, and nftables in the place of routers. It ends with the process of
// the test, which calls netlab.Alone first. TestReach is what it is for: it lets every kind of site reach every other one.
package testnet
