package coturn

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// span is a range of addresses of one family, both ends in it.
type span struct{ first, last netip.Addr }

// parseSpan takes ADDRESS, ADDRESS-ADDRESS or NETWORK/LENGTH.
func parseSpan(s string) (span, error) {
	wrong := fmt.Errorf("%q is no range of addresses", s)
	if p, err := netip.ParsePrefix(s); err == nil {
		p = p.Masked()
		if p.Addr().Is4In6() {
			return span{}, wrong
		}
		return span{p.Addr(), lastOf(p)}, nil
	}
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	a, err1 := parseAddr(strings.TrimSpace(from))
	b, err2 := parseAddr(strings.TrimSpace(to))
	if err1 != nil || err2 != nil || a.Is4() != b.Is4() || b.Less(a) {
		return span{}, wrong
	}
	return span{a, b}, nil
}

func mustSpan(s string) span {
	out, err := parseSpan(s)
	if err != nil {
		panic(err) // a literal of ours
	}
	return out
}

// lastOf is the last address of a network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// minus returns the networks that cover what is in a span of list and in none of others, and nothing else.
func minus(list, others []span) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		rest := []span{s}
		for _, o := range others {
			var next []span
			for _, r := range rest {
				next = append(next, r.without(o)...)
			}
			rest = next
		}
		for _, r := range rest {
			out = r.prefixes(out)
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	return slices.Compact(out)
}

// without is at most two spans.
func (s span) without(o span) []span {
	if o.first.Is4() != s.first.Is4() || o.last.Less(s.first) || s.last.Less(o.first) {
		return []span{s}
	}
	var out []span
	if s.first.Less(o.first) {
		out = append(out, span{s.first, o.first.Prev()})
	}
	if o.last.Less(s.last) {
		out = append(out, span{o.last.Next(), s.last})
	}
	return out
}

// prefixes appends the fewest networks that are the span: at most 62 of IPv4, 254 of IPv6.
func (s span) prefixes(out []netip.Prefix) []netip.Prefix {
	for at := s.first; ; {
		bits := at.BitLen()
		for bits > 0 {
			wider := netip.PrefixFrom(at, bits-1)
			if wider.Masked().Addr() != at || s.last.Less(lastOf(wider)) {
				break
			}
			bits--
		}
		p := netip.PrefixFrom(at, bits)
		out = append(out, p)
		if last := lastOf(p); last == s.last {
			return out
		} else {
			at = last.Next()
		}
	}
}
