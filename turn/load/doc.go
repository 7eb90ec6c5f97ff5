// Package load is many clients of a TURN server and their peers in one process, and measures what comes through.
//
// Each flow is a client with an allocation of its own, and a channel or an RFC 6062 connection to a peer, a socket of this
// machine that sends everything back. A message carries the time at which it left, so that its latency is the whole way:
// client, server, peer, server, client. What has not come back a second after the end is lost.
//
// Everything is bounded: flows, rate, size and duration by [Config], what is under way by a window, latencies by a
// histogram of fixed size. Allocations are given back at the end, also when the context ends it.
//
// It is made to look at a server, not to find its limit: a message costs this process four system calls or more, so on one
// machine with the server some 50,000 messages a second are as much this process's limit as the server's. `go run ./bench`
// is for that.
package load
