package dht

import (
	"fmt"
	"strings"
	"testing"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
)

// Pieces of packets.
var (
	id20   = "2:id20:" + strings.Repeat("i", 20)
	tgt20  = "6:target20:" + strings.Repeat("t", 20)
	key32  = "1:k32:" + strings.Repeat("k", 32)
	sig64  = "3:sig64:" + strings.Repeat("s", 64)
	hash20 = "9:info_hash20:" + strings.Repeat("h", 20)
)

func query(name, args string) string {
	return fmt.Sprintf("d1:ad%se1:q%d:%s1:t2:aa1:y1:qe", args, len(name), name)
}

func TestGuard(t *testing.T) {
	for _, c := range []struct {
		name   string
		packet string
		want   DropReason
	}{
		{"ping", query("ping", id20), pass},
		{"find_node", query("find_node", id20+tgt20), pass},
		{"find_node that wants both families", query("find_node", id20+tgt20+"4:wantl2:n42:n6e"), pass},
		{"get_peers", query("get_peers", id20+hash20), pass},
		{"get", query("get", id20+tgt20), pass},
		{"get of what is newer", query("get", id20+"3:seqi17e"+tgt20), pass},
		{"put of a mutable item", query("put", id20+key32+"3:seqi1e"+sig64+"5:token1:x1:v3:abc"), pass},
		{"put of an immutable item", query("put", id20+"5:token1:x1:v3:abc"), pass},
		{"a query from a read-only node, with a version", "d1:ad" + id20 + "e1:q4:ping2:roi1e1:t2:aa1:v4:LT001:y1:qe", pass},
		{"keys nobody knows", "d1:ad" + id20 + "3:foo3:bare1:q4:ping1:t2:aa1:y1:q1:zi0ee", pass},
		{"an answer", "d1:rd" + id20 + "e1:t2:aa1:y1:re", pass},
		{"an answer with our address", "d2:ip6:abcdef1:rd" + id20 + "e1:t2:aa1:y1:re", pass},
		{"an answer with nodes and peers", "d1:rd" + id20 + "5:nodes26:" + strings.Repeat("n", 26) + "6:valuesl6:abcdefee1:t2:aa1:y1:re", pass},
		{"an error", "d1:eli201e3:bade1:t2:aa1:y1:ee", pass},

		// What ends the process or fills the memory of the library, v2.23.
		{"put without arguments", "d1:q3:put1:t2:aa1:y1:qe", DropIncomplete},
		{"announce_peer without arguments", "d1:q13:announce_peer1:t2:aa1:y1:qe", DropUnknown},
		{"an ip of one byte, in a query", "d1:ad" + id20 + "e2:ip1:x1:q4:ping1:t2:aa1:y1:qe", DropMalformed},
		{"an ip of no byte, in an answer", "d2:ip0:1:rd" + id20 + "e1:t2:aa1:y1:re", DropMalformed},
		{"a peer of one byte", "d1:rd" + id20 + "6:valuesl1:xee1:t2:aa1:y1:re", DropMalformed},
		{"a string that claims 128 MiB", "d1:q134217727:x", DropMalformed},
		{"a query name never seen", query("q"+strings.Repeat("x", 30), id20), DropUnknown},
		{"lists in lists without end", strings.Repeat("l", maxPacket), DropMalformed},
		{"lists in lists, all closed", "d1:v" + strings.Repeat("l", 1000) + strings.Repeat("e", 1000) + "e", DropMalformed},

		// What it would write to stderr.
		{"an error that is a number only", "d1:eli201ee1:t2:aa1:y1:ee", DropMalformed},
		{"an error of three parts", "d1:eli201e3:bad3:bade1:t2:aa1:y1:ee", DropMalformed},
		{"unsorted keys where nobody knows them", "d1:ad" + id20 + "1:xd1:b0:1:a0:ee1:q4:ping1:t2:aa1:y1:qe", DropMalformed},
		{"unsorted keys in a value to store", query("put", id20+"5:token1:x1:vd1:b0:1:a0:e"), DropMalformed},
		{"unsorted keys in a value found", "d1:rd" + id20 + "1:vd1:b0:1:a0:ee1:t2:aa1:y1:re", pass}, // is kept as bytes
		{"unsorted keys of the packet itself", "d1:y1:q1:t2:aa1:q4:ping1:ad" + id20 + "ee", pass},

		{"nothing", "", DropMalformed},
		{"too large", query("ping", id20+"1:x2000:"+strings.Repeat("x", 2000)), DropTooLarge},
		{"bytes behind it", query("ping", id20) + "x", DropMalformed},
		{"cut off", query("ping", id20)[:30], DropMalformed},
		{"no transaction id", "d1:ad" + id20 + "e1:q4:ping1:y1:qe", DropMalformed},
		{"a transaction id that is too long to echo", "d1:ad" + id20 + "e1:q4:ping1:t33:" + strings.Repeat("t", 33) + "1:y1:qe", DropMalformed},
		{"no type", "d1:ad" + id20 + "e1:q4:ping1:t2:aae", DropMalformed},
		{"a type nobody knows", "d1:t2:aa1:y1:xe", DropMalformed},
		{"ping without id", query("ping", ""), DropIncomplete},
		{"find_node without target", query("find_node", id20), DropIncomplete},
		{"an id of 19 bytes", query("ping", "2:id19:"+strings.Repeat("i", 19)), DropMalformed},
		{"arguments that are a list", "d1:ale1:q4:ping1:t2:aa1:y1:qe", DropMalformed},
		{"arguments twice", "d1:ad" + id20 + "e1:ade1:q4:ping1:t2:aa1:y1:qe", DropMalformed},
		{"put without a value", query("put", id20+key32+"3:seqi1e"+sig64+"5:token1:x"), DropIncomplete},
		{"put with a key and no signature", query("put", id20+key32+"3:seqi1e5:token1:x1:v1:x"), DropIncomplete},
		{"put with an empty token", query("put", id20+"5:token0:1:v1:x"), DropMalformed},
		{"put of 1,001 bytes", query("put", id20+"5:token1:x1:v997:"+strings.Repeat("v", 997)), DropMalformed},
		{"a seq beyond 64 bits", query("get", id20+"3:seqi9223372036854775808e"+tgt20), DropMalformed},
		{"nodes of 25 bytes", "d1:rd" + id20 + "5:nodes25:" + strings.Repeat("n", 25) + "e1:t2:aa1:y1:re", DropMalformed},
		{"more nodes than any answer has", "d1:rd" + id20 + "5:nodes858:" + strings.Repeat("n", 33*26) + "e1:t2:aa1:y1:re", DropMalformed},
		{"an answer without body", "d1:t2:aa1:y1:re", DropIncomplete},
		{"an answer without id", "d1:rde1:t2:aa1:y1:re", DropIncomplete},
		{"an error without body", "d1:t2:aa1:y1:ee", DropIncomplete},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, got := guard([]byte(c.packet)); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestScanIsStrict(t *testing.T) {
	for _, c := range []struct {
		in   string
		rest string
		ok   bool
	}{
		{"i0e", "", true},
		{"i-1e", "", true},
		{"i9223372036854775807e", "", true},
		{"i-9223372036854775808ex", "x", true},
		{"0:", "", true},
		{"3:abcd", "d", true},
		{"le", "", true},
		{"de", "", true},
		{"d1:ai1ee", "", true},
		{"d1:b0:1:a0:e", "", true}, // keys in any order
		{"ie", "", false},
		{"i-e", "", false},
		{"i-0e", "", false},
		{"i01e", "", false},
		{"i1", "", false},
		{"i1x", "", false},
		{"i92233720368547758070e", "", false},
		{"01:a", "", false},
		{"4:abc", "", false},
		{"99999:", "", false},
		{"100000:", "", false},
		{"3", "", false},
		{"-1:a", "", false},
		{"l", "", false},
		{"di1ei1ee", "", false},
		{"d1:ae", "", false},
		{"e", "", false},
		{"x", "", false},
	} {
		v, rest, ok := scan([]byte(c.in), 0)
		if ok != c.ok || ok && string(rest) != c.rest {
			t.Errorf("scan(%q) = %+v, rest %q, %v; want rest %q, %v", c.in, v, rest, ok, c.rest, c.ok)
		}
	}
}

func TestGuardDoesNotAllocateForWhatItDrops(t *testing.T) {
	packet := []byte(query("q"+strings.Repeat("x", 30), id20))
	if got := testing.AllocsPerRun(100, func() { guard(packet) }); got > 3 {
		t.Errorf("%v allocations for a packet that is dropped, want 3 at most (its y, t and q)", got)
	}
}

// FuzzGuard: what the guard lets pass decodes, without a panic or an error, and has what the handlers use without asking.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{
		query("ping", id20), query("find_node", id20+tgt20+"4:wantl2:n4e"), query("get", id20+"3:seqi17e"+tgt20),
		query("put", id20+key32+"3:seqi1e"+sig64+"5:token1:x1:vld1:ai1eee"),
		"d2:ip6:abcdef1:rd" + id20 + "5:nodes26:" + strings.Repeat("n", 26) + "6:valuesl6:abcdefe1:v3:abce1:t2:aa1:y1:re",
		"d1:eli201e3:bade1:t2:aa1:y1:ee", "d1:q3:put1:t2:aa1:y1:qe", "d2:ip1:x1:rd" + id20 + "e1:t2:aa1:y1:re",
		"d1:eli201ee1:t2:aa1:y1:ee", "d1:ad" + id20 + "1:xd1:b0:1:a0:ee1:q4:ping1:t2:aa1:y1:qe",
		"d1:rd" + id20 + "4:BFsd256:" + strings.Repeat("b", 256) + "7:samples0:e1:t2:aa1:y1:re",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, drop := guard(b)
		if drop != pass {
			return
		}
		var m krpc.Msg
		if err := bencode.Unmarshal(b, &m); err != nil {
			t.Errorf("%q passed, and the library logs %v", b, err)
		}
		if p.query && (m.A == nil || needs[m.Q] == nil) {
			t.Errorf("%q passed as a query, and has no arguments or an unknown name", b)
		}
		if m.Y == "r" && m.R == nil {
			t.Errorf("%q passed as an answer, and has no body", b)
		}
	})
}
