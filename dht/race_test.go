//go:build race

package dht

// raced says that the race detector watches: then networks of tests are smaller, as it makes everything ten times slower.
const raced = true
