package dht

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// twins are what a courier was told of others with its key.
type twins struct {
	mu    sync.Mutex
	addrs []netip.AddrPort
}

func (w *twins) told(addrs []netip.AddrPort) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addrs = append(w.addrs, addrs...)
}

func (w *twins) last() (a netip.AddrPort) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.addrs) > 0 {
		a = w.addrs[len(w.addrs)-1]
	}
	return a
}

func runAs(t *testing.T, id *identity.Device, node *Node) (*device, *twins) {
	t.Helper()
	d, w := &device{Device: id, node: node}, new(twins)
	d.carry(t, RouteDirect|RouteSlot, func(c *CourierConfig, _ *signalling.Config) {
		c.Republish, c.Twin = 400*time.Millisecond, w.told
	})
	d.start(t)
	return d, w
}

// A device learns that another one runs with its key, and where; one that was restarted under another address learns nothing of its earlier run.
func TestTwin(t *testing.T) {
	t.Parallel()
	nodes := mesh(t, 4)
	id, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	first, _ := runAs(t, id, nodes[1])
	secret, err := first.courier.secret(id.ID())
	if err != nil {
		t.Fatal(err)
	}
	published := func(by *Node) bool {
		item, err := nodes[0].Get(t.Context(), pairSlot(secret, forPresence, id.ID(), id.ID(), hourOf(time.Now())).public, 0, nil)
		if err != nil {
			return false
		}
		m, err := signalling.Open(id, item.Value)
		if err != nil {
			t.Fatal(err)
		}
		where, err := parseRecord(m.Body)
		return err == nil && len(where.addrs) == 1 && where.addrs[0] == by.Addr()
	}
	eventually(t, "the first run publishes", func() bool { return published(nodes[1]) })
	first.stop()
	again, alone := runAs(t, id, nodes[2])
	eventually(t, "the second run publishes", func() bool { return published(nodes[2]) })
	gets := nodes[2].stats.gets.Load()
	eventually(t, "it looks a few times", func() bool { return nodes[2].stats.gets.Load() >= gets+3 })
	if at := alone.last(); at.IsValid() {
		t.Errorf("a restart was taken for another device, at %v", at)
	}

	copied, other := runAs(t, id, nodes[3])
	eventually(t, "the one that ran before learns of the copy", func() bool { return alone.last() == copied.node.Addr() })
	eventually(t, "the copy learns of it", func() bool { return other.last() == again.node.Addr() })
}
