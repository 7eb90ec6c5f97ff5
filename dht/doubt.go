package dht

import (
	"net/netip"
	"sync"
)

// maxFalse is how many nodes that did not answer a walk asks on one node's word. An honest node names two or three that have gone; a hostile one
// names as many as it likes that never were, nearer to the target than any that is, and each costs a time-out.
const maxFalse = 3

// doubt is what one walk has found out about those who name nodes to it. The zero value is ready.
type doubt struct {
	mu    sync.Mutex // guards the fields below
	named map[netip.AddrPort]netip.AddrPort
	wrong map[netip.AddrPort]int
}

// tell notes whom by has named. A node that others name as well stands on nobody's word alone.
func (d *doubt) tell(by netip.AddrPort, nodes []netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.named == nil {
		d.named, d.wrong = map[netip.AddrPort]netip.AddrPort{}, map[netip.AddrPort]int{}
	}
	for _, n := range nodes {
		if first, ok := d.named[n]; !ok {
			d.named[n] = by
		} else if first != by {
			d.named[n] = netip.AddrPort{}
		}
	}
}

// silent notes that a node did not answer.
func (d *doubt) silent(n netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if by := d.named[n]; by.IsValid() {
		d.wrong[by]++
	}
}

// skips reports whether a node is not worth asking: nobody vouches for it but one who was wrong too often.
func (d *doubt) skips(n netip.AddrPort) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	by := d.named[n]
	return by.IsValid() && d.wrong[by] >= maxFalse
}
