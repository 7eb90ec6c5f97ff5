// Package conformance asks any TURN server, over the wire and as a client would, whether it does what RFC 8489, RFC 8656
// and RFC 6062 say.
//
// There are 121 behaviours, numbered for good; docs/protocol/turn.md lists them. Each is a check of its own, with a client
// socket of its own, an allocation that it gives back, peers on this machine, and an end after a few seconds. A check says
// pass, fail with what was expected and what came, or skip with what it would have needed: another listener, a second
// user, more time, an option of the server that nobody told it about. A skip is never a pass.
//
//	suite ──UDP, TCP──> server │ relayed address <──UDP, TCP──> suite's own peers
//
// Checks look at nothing but the wire, so a behaviour that cannot be seen there (a socket closed after a failure, a
// comparison in constant time) is skipped and says so. They run over UDP and over TCP where the behaviour exists on both,
// and at each address that they are given; what fails on one of them fails.
//
// Silence is proved by what comes next: after a message that has to be dropped the suite sends one that has to be answered,
// and nothing may come before that answer. So a run takes seconds, and it does not mistake a slow server for a silent one.
//
// A failed expectation unwinds its check with a panic of a private type, which the runner recovers, as package testing does
// with FailNow: checks read as a specification and not as a chain of error returns. Nothing else panics here, whatever the
// server sends.
//
// [Run] does not return before everything that it started has ended. It is safe for concurrent use.
package conformance
