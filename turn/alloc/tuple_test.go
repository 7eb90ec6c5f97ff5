package alloc

import (
	"net/netip"
	"testing"
)

// TestTupleKeys: 5-tuples that differ have keys that do, and making one allocates nothing.
func TestTupleKeys(t *testing.T) {
	addr := netip.MustParseAddrPort
	var all []FiveTuple
	ends := []netip.AddrPort{
		{},
		addr("192.0.2.1:1"), addr("192.0.2.1:2"), addr("192.0.2.2:1"), addr("[::ffff:192.0.2.1]:1"), addr("[2001:db8::1]:1"), addr("[2001:db8::1]:256"),
		addr("[2001:db9::1]:1"), addr("[fe80::1]:1"), addr("[fe80::1%eth0]:1"), addr("[fe80::1%eth1]:1"), addr("[fe80::1%eth0]:2"),
	}
	for _, client := range ends {
		for _, server := range ends {
			for transport := range NumTransports {
				all = append(all, FiveTuple{client, server, Transport(transport)})
			}
		}
	}
	by := make(map[tupleKey]FiveTuple)
	for _, tuple := range all {
		if other, ok := by[tuple.key()]; ok {
			t.Errorf("%v and %v have one key", tuple, other)
		}
		by[tuple.key()] = tuple
	}
	for _, tuple := range all {
		if got, ok := by[tuple.key()]; !ok || got != tuple {
			t.Errorf("%v: got %v, %v", tuple, got, ok)
		}
	}
	tuple := FiveTuple{addr("[2001:db8::1]:1"), addr("192.0.2.1:3478"), UDP}
	if n := testing.AllocsPerRun(100, func() { _ = by[tuple.key()] }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkLookup finds a thousand allocations in turns.
func BenchmarkLookup(b *testing.B) {
	table := NewTable(Limits{}, begin)
	var tuples []FiveTuple
	for i := range 1000 {
		tuple := FiveTuple{netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), uint16(1000+i)), netip.MustParseAddrPort("192.0.2.2:3478"), UDP}
		tuples = append(tuples, tuple)
		if _, v := table.Insert(begin, New{Tuple: tuple, Relayed: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 2}), uint16(2000+i))}); v != OK {
			b.Fatal(v)
		}
	}
	i := 0
	for b.Loop() {
		if table.Lookup(tuples[i]) == nil {
			b.Fatal("not found")
		}
		if i++; i == len(tuples) {
			i = 0
		}
	}
}
