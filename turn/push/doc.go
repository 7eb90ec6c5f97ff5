// Package push is the relay's side of signalling by push: it hands sealed requests to devices that keep a connection to it, and their
// answers back.
//
// A device that is a user of the relay registers and says which mailboxes are its own: tokens that it shares with one contact each, for an hour.
// A caller that knows a token hands in what it has sealed; it goes to the device's connection at once, or the caller hears at once that
// nobody is there. The relay keeps nothing: what waits in a connection's queue is gone with it, ten seconds later at the latest. It learns
// which addresses call which user and when, and not who they are: docs/protocol/push.md, "Who sees what".
//
// A Hub is the table and its limits, as pure state: time is an argument. Serve speaks core/pushwire over a connection that TLS is done for; the
// authentication is a function of the caller's. The package knows nothing of TURN.
package push
