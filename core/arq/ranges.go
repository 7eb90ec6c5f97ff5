package arq

import "slices"

// span is the numbers from lo up to, not including, hi.
type span struct{ lo, hi uint64 }

// spans are disjoint, in order, and do not touch.
type spans []span

// add puts [lo, hi) in.
func (s *spans) add(lo, hi uint64) {
	if lo >= hi {
		return
	}
	list := *s
	if n := len(list); n > 0 && lo >= list[n-1].lo { // nearly always
		if lo <= list[n-1].hi {
			list[n-1].hi = max(list[n-1].hi, hi)
			return
		}
		*s = append(list, span{lo, hi})
		return
	}
	first, _ := slices.BinarySearchFunc(list, lo, func(e span, v uint64) int {
		if e.hi < v {
			return -1
		}
		return 1
	})
	last := first
	for last < len(list) && list[last].lo <= hi {
		lo, hi = min(lo, list[last].lo), max(hi, list[last].hi)
		last++
	}
	*s = slices.Replace(list, first, last, span{lo, hi})
}

// cut takes [lo, hi) out.
func (s *spans) cut(lo, hi uint64) {
	if lo >= hi {
		return
	}
	for i := 0; i < len(*s); i++ {
		e := (*s)[i]
		switch {
		case e.hi <= lo:
		case e.lo >= hi:
			return
		case e.lo < lo && e.hi > hi:
			(*s)[i].hi = lo
			*s = slices.Insert(*s, i+1, span{hi, e.hi})
			return
		case e.lo < lo:
			(*s)[i].hi = lo
		case e.hi > hi:
			(*s)[i].lo = hi
			return
		default:
			*s = slices.Delete(*s, i, i+1)
			i--
		}
	}
}

// has says whether v is in.
func (s spans) has(v uint64) bool {
	for i := len(s) - 1; i >= 0; i-- {
		if v >= s[i].lo {
			return v < s[i].hi
		}
	}
	return false
}
