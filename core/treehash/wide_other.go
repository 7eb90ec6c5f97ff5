//go:build !amd64

package treehash

const hasWide = false

func absorb8(*[25][8]uint64, *byte, int) {}
func permute8(*[25][8]uint64)            {}
