package main

import (
	"cmp"
	"fmt"
	"slices"

	"traverse.internal/turn"
)

// sortedBy returns the sessions, those with most first.
func sortedBy(list []turn.Session, most func(turn.Session) uint64) []turn.Session {
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b turn.Session) int { return cmp.Compare(most(b), most(a)) })
	return out
}

// size writes a number of bytes in binary units.
func size(n uint64) string {
	value, unit := float64(n), 0
	for ; value >= 1024 && unit < 4; unit++ {
		value /= 1024
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, []string{"", "KiB", "MiB", "GiB", "TiB"}[unit])
}
