package treehash

import "golang.org/x/sys/cpu"

// hasWide tells whether absorb8 and permute8 may be called.
var hasWide = cpu.X86.HasAVX512F

// absorb8 has eight states absorb blocks of 168 bytes of eight leaves, which lie one behind the other, and permutes them behind each;
// then, without, the next 128 bytes of each leaf.
//
//go:noescape
func absorb8(states *[25][8]uint64, leaves *byte, blocks int)

// permute8 permutes eight states.
//
//go:noescape
func permute8(states *[25][8]uint64)
