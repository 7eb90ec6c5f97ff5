// Package manual is the written pages as tests: their links lead to something, and the commands they show run.
//
// A block of commands in README.md or docs/operations.md has a comment before it, which the reader of the page does not see:
//
//	<!-- run MACHINE -->                its lines are run there, by bash; it has to end with 0
//	<!-- run MACHINE ready=WHAT -->     it stays: WHAT is node, an address that answers then, or listening, which it says then
//	<!-- not run: WHY -->
//
// Further words are in=FILE and out=FILE, its standard input and output, and take=MACHINE/FILE, a file that its reader would
// copy there. Machines (laptop, phone, relay) are folders with a HOME of their own, and have addresses at one switch.
package manual
