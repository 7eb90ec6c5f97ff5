package main

import (
	"cmp"
	"slices"

	"traverse.internal/turn"
)

// sortedBy returns the sessions, those with most first.
func sortedBy(list []turn.Session, most func(turn.Session) uint64) []turn.Session {
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b turn.Session) int { return cmp.Compare(most(b), most(a)) })
	return out
}
