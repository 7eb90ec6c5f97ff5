// Command bench measures whole paths against the programs people use today.
//
//	go run ./bench                        # everything, 15 minutes at most
//	go run ./bench -quick                 # a part of it, two minutes
//	go run ./bench -only saturated,rates  # some groups
//	go run ./bench -run 'up.*1000 flows'  # some rows
//	go run ./bench -out bin/bench         # report.json and a plot of each group, too
//	go run ./bench -gate -quick           # fails when a ratio is below its floor
//
// Times on shared machines differ by half from run to run. What is compared is mostly CPU per unit of work, of the
// process that does the work and of nothing else, ours and the opponents' interleaved in one run, each the minimum of
// at least three rounds. The ratio of two minima is what decides, and ±10 % of it is noise.
//
// As root the bench moves to a network namespace of its own, and each relay gets another, at the other end of a veth:
// a machine with one relay, a machine with everybody else. Datagrams are written to the cable as frames, 64 with one
// system call, from another core than the relay's; what has been relayed is counted and dropped as it comes back, before
// any socket, by an eBPF program at tcx: so neither end of the load is what is measured, and losses are counted. The kernel's
// part of receiving runs in the sender's context, so it is charged to the load, for all alike; where that would hide
// the work itself (the relay in the kernel) everything is counted. Without root it is loopback, a closed loop over
// sockets, and fewer rows. A missing opponent is a row that says so.
package main
