//go:build race

package arq

// raced says that the race detector watches, which makes simulated seconds ten times slower.
const raced = true
