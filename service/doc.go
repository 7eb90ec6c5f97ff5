// Package service carries bytes between channels of a session and local programs: which services contacts may reach, forwarded ports, and pipes.
//
// Nothing is reachable unless it was exposed. A [Table] holds what was, and decides on each channel that a device opens by its name
// ([Request]): the wire is docs/protocol/services.md. [Join] relays between a channel and a local connection, each direction closed by itself
// and nothing lost behind it. A [Forward] listens on this machine and opens a channel for each connection. [Framed] carries a
// channel over the local API's socket, where an end that is meant must differ from a program that died.
//
// The package dials nothing and knows no session: the daemon does.
package service
