package dht

import (
	"bytes"
	"strconv"
)

// The library decodes what it is given with a general decoder that allocates a string's claimed length before reading
// it (up to 128 MiB) and panics on several well-formed packets. So every packet is read here first, strictly and in
// place: nothing is allocated, and depth and length are bounded.

// maxDepth is how deep lists and dictionaries may nest. KRPC itself needs four; the rest is for foreign stored values.
const maxDepth = 12

// value is one bencoded value inside a packet: a view, nothing is copied.
type value struct {
	kind byte   // 'i' integer, 's' string, 'l' list, 'd' dictionary
	raw  []byte // the whole encoding
	body []byte // a string's bytes, an integer's digits, what is between 'l' or 'd' and 'e'
	tidy bool   // the keys of every dictionary in it ascend, as the library's decoder wants where it knows no better
}

// scan reads one value from the front of b. ok is false when b does not begin with a whole, strict one.
func scan(b []byte, depth int) (v value, rest []byte, ok bool) {
	if len(b) == 0 || depth > maxDepth {
		return value{}, nil, false
	}
	switch c := b[0]; {
	case c == 'i':
		return scanInt(b)
	case c >= '0' && c <= '9':
		return scanString(b)
	case c == 'l' || c == 'd':
		return scanNested(b, depth)
	}
	return value{}, nil, false
}

// scanInt reads i<digits>e: no leading zeros, no minus zero, within 64 bits.
func scanInt(b []byte) (value, []byte, bool) {
	const longest = len("i-9223372036854775808e")
	for end := 1; end < len(b) && end < longest; end++ {
		if b[end] != 'e' {
			continue
		}
		digits := b[1:end]
		n, err := strconv.ParseInt(string(digits), 10, 64)
		if err != nil || string(strconv.AppendInt(make([]byte, 0, longest), n, 10)) != string(digits) {
			return value{}, nil, false
		}
		return value{'i', b[:end+1], digits, true}, b[end+1:], true
	}
	return value{}, nil, false
}

// scanString reads <length>:<bytes>: no leading zeros, and all the bytes are there.
func scanString(b []byte) (value, []byte, bool) {
	n, i := 0, 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		if i > 0 && n == 0 || i > 4 { // a leading zero; or more digits than any packet has bytes
			return value{}, nil, false
		}
		n = n*10 + int(b[i]-'0')
	}
	if i == len(b) || b[i] != ':' || n > len(b)-i-1 {
		return value{}, nil, false
	}
	end := i + 1 + n
	return value{'s', b[:end], b[i+1 : end], true}, b[end:], true
}

// scanNested reads a list or a dictionary. Keys are strings; their order is noted and left alone, since foreign nodes do
// not always sort.
func scanNested(b []byte, depth int) (value, []byte, bool) {
	dict, tidy := b[0] == 'd', true
	var last []byte // the last key
	rest := b[1:]
	for n := 0; ; n++ {
		if len(rest) == 0 {
			return value{}, nil, false
		}
		isKey := dict && n%2 == 0
		if rest[0] == 'e' {
			if dict && !isKey {
				return value{}, nil, false // a key without its value
			}
			end := len(b) - len(rest)
			return value{b[0], b[:end+1], b[1:end], tidy}, rest[1:], true
		}
		item, after, ok := scan(rest, depth+1)
		if !ok || isKey && item.kind != 's' {
			return value{}, nil, false
		}
		if isKey {
			tidy = tidy && (n == 0 || bytes.Compare(last, item.body) < 0)
			last = item.body
		}
		tidy = tidy && item.tidy
		rest = after
	}
}

// entries calls f for each entry of a dictionary that was scanned, until f returns false. It reports whether f never did.
func (v value) entries(f func(key string, v value) bool) bool {
	for rest := v.body; len(rest) > 0; {
		key, afterKey, _ := scan(rest, 0)
		item, after, _ := scan(afterKey, 0)
		if !f(string(key.body), item) {
			return false
		}
		rest = after
	}
	return true
}

// items calls f for each item of a list that was scanned, until f returns false. It reports whether f never did.
func (v value) items(f func(v value) bool) bool {
	for rest := v.body; len(rest) > 0; {
		item, after, _ := scan(rest, 0)
		if !f(item) {
			return false
		}
		rest = after
	}
	return true
}

// isString reports whether v is a string of n bytes.
func (v value) isString(n int) bool { return v.kind == 's' && len(v.body) == n }
