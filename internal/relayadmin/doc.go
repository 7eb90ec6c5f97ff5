// Package relayadmin operates a TURN server that runs, alone or inside a node: reload, drain and sessions, by signal and by an admin socket.
//
// Both programs have an Operator beside their server. turnd answers its signals with it, a node hands it SIGHUP; both give it
// an admin socket, and the same commands talk to either.
package relayadmin
