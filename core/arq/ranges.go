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
	first := list.from(lo)
	last := first
	for last < len(list) && list[last].lo <= hi {
		lo, hi = min(lo, list[last].lo), max(hi, list[last].hi)
		last++
	}
	*s = slices.Replace(list, first, last, span{lo, hi})
}

// from is the place of the first span that ends at lo or beyond.
func (s spans) from(lo uint64) int {
	i, _ := slices.BinarySearchFunc(s, lo, func(e span, v uint64) int {
		if e.hi < v {
			return -1
		}
		return 1
	})
	return i
}

// cut takes [lo, hi) out. It looks at no more spans than it changes, whatever their number: the peer decides that.
func (s *spans) cut(lo, hi uint64) {
	if lo >= hi {
		return
	}
	list := *s
	first := list.from(lo + 1)
	last := first
	for last < len(list) && list[last].lo < hi {
		last++
	}
	if first == last {
		return
	}
	var rest [2]span
	n := 0
	if e := list[first]; e.lo < lo {
		rest[n], n = span{e.lo, lo}, n+1
	}
	if e := list[last-1]; e.hi > hi {
		rest[n], n = span{hi, e.hi}, n+1
	}
	*s = slices.Replace(list, first, last, rest[:n]...)
}

// has says whether v is in.
func (s spans) has(v uint64) bool {
	i := s.from(v + 1)
	return i < len(s) && s[i].lo <= v
}
