// Command bench measures whole paths against the programs people use today.
//
//	go run ./bench                  # everything, about two minutes
//	go run ./bench -run channeldata # some of it
//	go run ./bench -json            # for the machines
//
// Times on shared machines differ by half from run to run, so nothing here reports
// a time. What is compared is CPU per unit of work, of the process that does the
// work and of nothing else, ours and the opponents' interleaved in one run, each
// the minimum of at least three rounds. The ratio of two minima is what decides,
// and ±10 % of it is noise.
//
// Load comes from this program, on another core where there is one: closed loops
// that keep the measured program busy without overrunning it. Servers are children
// of this program on loopback ports the kernel chose, and are gone when it ends. A
// missing opponent is a row that says so.
//
// What loopback hides: the kernel's part of receiving a packet runs in the sender's
// context, so it is charged to whoever sends. That is the same for all that are
// compared in a row.
package main
