//go:build race

package identity

// raced is 1 in programs with the race detector, which nobody but tests runs: there scrypt takes ten times as long, and proves nothing.
const raced = 1
