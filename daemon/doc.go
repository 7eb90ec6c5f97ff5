// Package daemon is `node up`: it wires identity, DHT, paths, sessions and transfers into one program and answers commands on a unix socket.
//
// A [Daemon] owns one home: a device identity, a list of contacts, a download folder, and at most one running instance, which a
// lock on the home guarantees. Commands talk to it by HTTP and JSON over the home's socket through [Client]; the objects they exchange are the ones
// the commands print with --json, so that there is one description of them.
//
// The daemon decides nothing about paths or bytes; it keeps the table of transfers, the inbox of offers that wait for a
// person, and translates the packages' typed errors into what a user can act on.
package daemon
