package alloc_test

import (
	"fmt"
	"net/netip"
	"time"

	"traverse.internal/turn/alloc"
)

// A permission that is renewed, and one that is not.
func ExampleTable() {
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	table := alloc.NewTable(alloc.Limits{}, now)
	a, verdict := table.Insert(now, alloc.New{
		Tuple:   alloc.FiveTuple{Client: netip.MustParseAddrPort("203.0.113.1:1000")},
		Relayed: netip.MustParseAddrPort("192.0.2.1:50000"),
	})
	fmt.Println("insert:", verdict)

	peer, other := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")
	table.Permit(now, a, []netip.Addr{peer, other})
	table.Permit(now.Add(200*time.Second), a, []netip.Addr{peer})

	later := now.Add(400 * time.Second)
	fmt.Println(peer, a.Permitted(later, peer))
	fmt.Println(other, a.Permitted(later, other))
	// Output:
	// insert: ok
	// 198.51.100.1 true
	// 198.51.100.2 false
}
