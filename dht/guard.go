package dht

import "net/netip"

// Limits of a packet.
const (
	maxPacket   = 2048 // the largest known: a get answer with 1,000 bytes of value, 8 + 8 nodes and a token, some 1,760
	maxTransact = 32   // t: ours have at most 10 bytes, others' 2 to 8; it is echoed
	maxToken    = 64   // ours have 20
	maxNodes    = 32   // in one answer and family; the protocol says 8
	maxValue    = 1000 // BEP 44
	maxSalt     = 64   // BEP 44
)

// packet is what the guard saw in a packet it let pass.
type packet struct {
	query    bool
	name     string         // of the query
	observed netip.AddrPort // an answer's "ip": the address the answering node saw us at (BEP 42)
}

// guard decides whether the library may see a packet. It is the defence against what is known to end the process or to
// fill its memory in the library, v2.23:
//
//   - a put or announce_peer without arguments: nil dereference;
//   - an "ip" field or a peer in "values" shorter than two bytes: slice length out of range, in the decoder;
//   - a string that claims 128 MiB: allocated before it is read;
//   - a query name never seen before: kept for ever in a global map;
//   - whatever does not decode: written to stderr, byte for byte.
//
// Every field the library decodes has its type and length checked. Fields nobody knows pass.
func guard(b []byte) (p packet, drop DropReason) {
	if len(b) > maxPacket {
		return p, DropTooLarge
	}
	top, rest, ok := scan(b, 0)
	if !ok || top.kind != 'd' || len(rest) != 0 {
		return p, DropMalformed
	}
	var y, q, t string
	var a, r value
	var hasError bool
	if !top.entries(func(key string, v value) bool {
		switch key {
		case "y":
			y = string(v.body)
			return v.isString(1)
		case "t":
			t = string(v.body)
			return v.kind == 's' && len(v.body) <= maxTransact
		case "q":
			q = string(v.body)
			return v.kind == 's'
		case "a":
			first := a.kind == 0 // a second one would be decoded unchecked
			a = v
			return v.kind == 'd' && first
		case "r":
			first := r.kind == 0
			r = v
			return v.kind == 'd' && first
		case "e":
			hasError = true
			return v.kind == 's' || isCodeAndText(v)
		case "ip":
			p.observed = compactAddr(v.body)
			return isCompactAddr(v)
		case "ro":
			return v.kind == 'i'
		case "v":
			return v.kind == 's'
		}
		return v.tidy
	}) || t == "" {
		return p, DropMalformed
	}
	switch y {
	case "q":
		p.query, p.name = true, q
		return p, guardQuery(q, a)
	case "r":
		return p, guardReturn(r)
	case "e":
		if !hasError {
			return p, DropIncomplete
		}
		return p, pass
	}
	return p, DropMalformed
}

// needs lists the queries we answer with the arguments each cannot do without. announce_peer is not among them: we keep
// no peers.
var needs = map[string][]string{
	"ping":      {"id"},
	"find_node": {"id", "target"},
	"get_peers": {"id", "info_hash"},
	"get":       {"id", "target"},
	"put":       {"id", "token", "v"},
}

func guardQuery(name string, a value) DropReason {
	required, known := needs[name]
	if !known {
		return DropUnknown
	}
	if a.kind == 0 {
		return DropIncomplete
	}
	var seen [8]string // of the arguments that matter here
	n := 0
	if !a.entries(func(key string, v value) bool {
		switch key {
		case "id", "info_hash", "target", "token", "v", "k", "sig", "seq":
			if n == len(seen) {
				return false // one of them stands there twice
			}
			seen[n] = key
			n++
		}
		return argumentFits(key, v)
	}) {
		return DropMalformed
	}
	has := func(key string) bool {
		for _, s := range seen[:n] {
			if s == key {
				return true
			}
		}
		return false
	}
	for _, key := range required {
		if !has(key) {
			return DropIncomplete
		}
	}
	if name == "put" && (has("k") != has("sig") || has("k") && !has("seq")) {
		return DropIncomplete
	}
	return pass
}

// argumentFits checks type and length of a query's argument.
func argumentFits(key string, v value) bool {
	switch key {
	case "id", "info_hash", "target":
		return v.isString(20)
	case "token":
		return v.kind == 's' && len(v.body) > 0 && len(v.body) <= maxToken
	case "port", "implied_port", "noseed", "scrape", "seq", "cas":
		return v.kind == 'i'
	case "want":
		return v.kind == 'l' && v.items(func(v value) bool { return v.kind == 's' })
	case "k":
		return v.isString(32)
	case "sig":
		return v.isString(64)
	case "salt":
		return v.kind == 's' && len(v.body) <= maxSalt
	case "v":
		return len(v.raw) <= maxValue && v.tidy
	}
	return v.tidy
}

func guardReturn(r value) DropReason {
	if r.kind == 0 {
		return DropIncomplete
	}
	hasID := false
	if !r.entries(func(key string, v value) bool {
		hasID = hasID || key == "id"
		return returnFits(key, v)
	}) {
		return DropMalformed
	}
	if !hasID {
		return DropIncomplete
	}
	return pass
}

// returnFits checks type and length of a field of an answer.
func returnFits(key string, v value) bool {
	switch key {
	case "id":
		return v.isString(20)
	case "nodes":
		return v.kind == 's' && len(v.body)%26 == 0 && len(v.body) <= maxNodes*26
	case "nodes6":
		return v.kind == 's' && len(v.body)%38 == 0 && len(v.body) <= maxNodes*38
	case "token":
		return v.kind == 's' && len(v.body) <= maxToken
	case "values":
		return v.kind == 'l' && v.items(isCompactAddr)
	case "BFsd", "BFpe":
		return v.isString(256)
	case "interval", "num", "seq":
		return v.kind == 'i'
	case "samples":
		return v.kind == 's' && len(v.body)%20 == 0
	case "k":
		return v.isString(32)
	case "sig":
		return v.isString(64)
	case "v":
		return len(v.raw) <= maxValue
	}
	return v.tidy
}

// isCodeAndText reports whether v is what an error consists of: a number and a text.
func isCodeAndText(v value) bool {
	n := 0
	return v.kind == 'l' && v.items(func(item value) bool {
		n++
		return n == 1 && item.kind == 'i' || n == 2 && item.kind == 's'
	}) && n == 2
}

// isCompactAddr reports whether v is an address and port as 6 or 18 bytes.
func isCompactAddr(v value) bool { return v.isString(6) || v.isString(18) }

func compactAddr(b []byte) netip.AddrPort {
	if len(b) != 6 && len(b) != 18 {
		return netip.AddrPort{}
	}
	port := uint16(b[len(b)-2])<<8 | uint16(b[len(b)-1])
	addr, _ := netip.AddrFromSlice(b[:len(b)-2])
	return netip.AddrPortFrom(addr.Unmap(), port)
}

// outgoingQuery returns the name of the query in a packet of the library's, or "".
func outgoingQuery(b []byte) (name string) {
	top, _, ok := scan(b, 0)
	if !ok || top.kind != 'd' {
		return ""
	}
	top.entries(func(key string, v value) bool {
		if key == "q" {
			name = string(v.body)
		}
		return key < "q"
	})
	return name
}
