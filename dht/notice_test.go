package dht

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// TestDirectNotice: a notice goes to the contact's address, is acknowledged, and is sent no more; the contact then knows where this device is without a look.
func TestDirectNotice(t *testing.T) {
	t.Parallel()
	na, tapA := tapped(t, 0)
	nb, tapB := tapped(t, 0, na.Addr().String())
	await(t, nb.Joined(), "join")
	told := make(chan []byte, 1)
	a := newDevice(t, na, RouteDirect, nil)
	b := newDevice(t, nb, RouteDirect, func(_ *CourierConfig, c *signalling.Config) {
		c.Noticed = func(_ identity.DeviceID, record []byte) { told <- record }
	})
	befriend(t, a, b)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.sig.Notify(ctx, b.ID(), a.courier.Record()); err != nil {
		t.Fatal(err)
	}
	lookups := nb.Stats().Lookups
	if err := b.courier.Learn(a.ID(), await(t, told, "notice")); err != nil {
		t.Fatal(err)
	}
	if r, ok := b.courier.recall(a.ID()); !ok || !slices.Equal(r.addrs, a.courier.addresses()) || !r.fresh(time.Now()) {
		t.Errorf("knows %v, %v; want %v", r, ok, a.courier.addresses())
	}
	if nb.Stats().Lookups != lookups {
		t.Error("somebody looked")
	}
	if receipts, answers := len(tapB.direct(directReceipt)), len(tapB.direct(directAnswer)); receipts < 1 || answers != 0 {
		t.Errorf("%d receipts and %d answers to %d datagrams, want a receipt", receipts, answers, len(tapA.direct(directRequest)))
	}
	if err := b.courier.Learn(a.ID(), []byte{9}); err == nil {
		t.Error("a record that is none was learnt")
	}
}

// TestANoticeIsNewerThanWhatLookupsFind: who waits for a device learns at once where it is, and an item that some node still has of before does not take that away.
func TestANoticeIsNewerThanWhatLookupsFind(t *testing.T) {
	t.Parallel()
	nodes := mesh(t, 3)
	slow := func(c *CourierConfig, _ *signalling.Config) { c.Poll = maxPoll } // the second look is 1.25 s after the first, and so on
	a, b := newDevice(t, nodes[1], RouteSlot, slow), newDevice(t, nodes[2], RouteSlot, slow)
	a.add(b.ID())
	b.add(a.ID())
	old, now := netip.MustParseAddrPort("127.0.0.1:1111"), netip.MustParseAddrPort("127.0.0.1:2222")
	if _, err := b.courier.putRecord(t.Context(), a.ID(), places{addrs: []netip.AddrPort{old}}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan netip.AddrPort, 100)
	go a.courier.watch(ctx, b.ID(), func(r record) bool {
		seen <- r.addrs[0]
		return true
	})
	if got := await(t, seen, "the record"); got != old {
		t.Fatalf("found %v, want %v", got, old)
	}
	if err := a.courier.Learn(b.ID(), appendRecord(nil, places{addrs: []netip.AddrPort{now}})); err != nil {
		t.Fatal(err)
	}
	if got := await(t, seen, "the notice"); got != now {
		t.Errorf("after the notice it is at %v, want %v", got, now)
	}
	look := func() { a.courier.lookup(t.Context(), b.ID(), func() bool { return true }) }
	look()
	if r, _ := a.courier.recall(b.ID()); r.addrs[0] != now {
		t.Errorf("a look at the old item brought %v back", r.addrs)
	}
	moved := netip.MustParseAddrPort("127.0.0.1:3333")
	if _, err := b.courier.putRecord(t.Context(), a.ID(), places{addrs: []netip.AddrPort{moved}}, time.Now().Add(time.Hour+2*time.Second)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a newer record", func() bool {
		look()
		r, _ := a.courier.recall(b.ID())
		return r.addrs[0] == moved
	})
}
