package dht

import (
	"context"
	"encoding/binary"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"traverse.internal/core/reason"
	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// TestASlotAnswersWithinTwoIntervals: the called device looks within one interval, and the caller four times as often.
func TestASlotAnswersWithinTwoIntervals(t *testing.T) {
	t.Parallel()
	const interval = 700 * time.Millisecond
	nodes := mesh(t, 4)
	slower := func(c *CourierConfig, _ *signalling.Config) { c.Poll = interval }
	a, b := newDevice(t, nodes[1], RouteSlot, slower), newDevice(t, nodes[2], RouteSlot, slower)
	befriend(t, a, b)
	for range 2 {
		if took := mustCall(t, a, b); took > 2*interval {
			t.Errorf("answered after %v, want two intervals of %v at most", took, interval)
		} else {
			t.Logf("answered after %v, %.2f intervals", took, took.Seconds()/interval.Seconds())
		}
	}
}

func TestCallsThatFailSayWhy(t *testing.T) {
	impatient := func(_ *CourierConfig, c *signalling.Config) {
		c.Timeout, c.Patience = 1200*time.Millisecond, 600*time.Millisecond
	}
	for _, c := range []struct {
		name string
		peer func(t *testing.T, a, b *device)
		want reason.Code
	}{
		{"a device that was never there", func(*testing.T, *device, *device) {}, reason.NoRecord},
		{"a device that has us not among its contacts", func(t *testing.T, a, b *device) {
			b.contacts = nil
			b.start(t)
		}, reason.NoRecord},
		{"a device that went away long ago", func(t *testing.T, a, b *device) {
			if _, err := b.courier.putRecord(t.Context(), a.ID(), b.courier.places(), time.Now().Add(-time.Second)); err != nil {
				t.Fatal(err)
			}
		}, reason.RecordStale},
		{"a device that went away just now", func(t *testing.T, a, b *device) {
			if _, err := b.courier.putRecord(t.Context(), a.ID(), b.courier.places(), time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
		}, reason.PeerSilent},
		{"a device that does not allow us", func(t *testing.T, a, b *device) {
			b.refuse = true
			b.start(t)
			eventually(t, "presence", func() bool {
				_, ok := fetched(t.Context(), a.courier, b.ID())
				return ok
			})
		}, reason.PeerSilent},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			nodes := mesh(t, 3)
			a, b := newDevice(t, nodes[1], 0, impatient), newDevice(t, nodes[2], 0, impatient)
			a.add(b.ID())
			b.add(a.ID())
			a.start(t)
			c.peer(t, a, b)
			_, err := a.sig.Call(t.Context(), b.ID(), []byte("offer"))
			if got := reason.Of(err); got != c.want {
				t.Errorf("reason %q (%v), want %q", got, err, c.want)
			}
			if n := len(b.callers()); n != 0 {
				t.Errorf("handled %d requests, want none", n)
			}
		})
	}
}

// TestAPeerThatMovesIsAskedAtItsNewAddress: its record changes, and what the caller knew of it is stale.
func TestAPeerThatMovesIsAskedAtItsNewAddress(t *testing.T) {
	t.Parallel()
	nodes := mesh(t, 3)
	a, b := newDevice(t, nodes[0], RouteDirect, nil), newDevice(t, nodes[2], RouteDirect, nil)
	befriend(t, a, b)
	mustCall(t, a, b)

	b.stop()
	_ = b.node.Close()
	again := &device{Device: b.Device, node: listen(t, nodes[0].Addr().String()), contacts: []identity.DeviceID{a.ID()}}
	again.carry(t, RouteDirect, nil)
	await(t, again.node.Joined(), "the moved device to join")
	again.start(t)
	t.Logf("answered at the new address after %v", mustCall(t, a, again))
}

func TestPresenceIsPublishedAgain(t *testing.T) {
	t.Parallel()
	nodes := mesh(t, 3)
	a := newDevice(t, nodes[0], RouteDirect, nil)
	b := newDevice(t, nodes[1], RouteDirect, func(c *CourierConfig, _ *signalling.Config) { c.Republish = 100 * time.Millisecond })
	befriend(t, a, b)
	record := func() (r record) {
		r, _ = fetched(t.Context(), a.courier, b.ID())
		return r
	}
	eventually(t, "presence", func() bool { return record().fresh(time.Now()) })
	first := record()
	if want := []netip.AddrPort{b.node.Addr()}; !slices.Equal(first.addrs, want) {
		t.Errorf("published %v, want %v", first.addrs, want)
	}
	if left := time.Until(first.expiry); left > minLife || left < minLife/2 {
		t.Errorf("the record holds for %v, want about %v", left, minLife)
	}
	eventually(t, "a later expiry", func() bool { return record().expiry.After(first.expiry) })

	// A new contact is told at once, and nobody else can read it.
	c := newDevice(t, nodes[2], RouteDirect, nil)
	c.add(b.ID())
	if r, ok := fetched(t.Context(), c.courier, b.ID()); ok {
		t.Errorf("a stranger found %v", r)
	}
	b.add(c.ID())
	eventually(t, "presence for the new contact", func() bool {
		r, ok := fetched(t.Context(), c.courier, b.ID())
		return ok && r.fresh(time.Now())
	})
}

func TestBothCallAtTheSameTime(t *testing.T) {
	t.Parallel()
	for _, route := range []RouteSet{RouteDirect, RouteSlot} {
		nodes := mesh(t, 3)
		a, b := newDevice(t, nodes[1], route, nil), newDevice(t, nodes[2], route, nil)
		befriend(t, a, b)
		errs := make(chan error, 2)
		for _, p := range [][2]*device{{a, b}, {b, a}} {
			go func() {
				_, err := p[0].sig.Call(context.Background(), p[1].ID(), []byte("offer"))
				errs <- err
			}()
		}
		for range 2 {
			if err := await(t, errs, "both answers"); err != nil {
				t.Errorf("route %d: %v", route, err)
			}
		}
	}
}

// TestManyCallsLeaveNoUnwantedAnswers: what was read from a mailbox is not read again.
func TestManyCallsLeaveNoUnwantedAnswers(t *testing.T) {
	t.Parallel()
	nodes := mesh(t, 2)
	a, b := newDevice(t, nodes[0], RouteSlot, nil), newDevice(t, nodes[1], RouteSlot, nil)
	befriend(t, a, b)
	for range 4 {
		mustCall(t, a, b)
	}
	if got := a.sig.Stats().UnwantedAnswers; got != 0 {
		t.Errorf("%d unwanted answers, want none", got)
	}
	if got := b.sig.Stats().Repeated; got != 0 {
		t.Errorf("%d requests read twice, want none", got)
	}
}

func TestCourierConfigNamesWhatIsWrong(t *testing.T) {
	n := listen(t)
	id, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want string
		cfg  CourierConfig
	}{
		{"dht: courier: no device", CourierConfig{}},
		{"dht: courier: poll interval 51s is not within 50s", CourierConfig{Device: id, Poll: 51 * time.Second}},
		{"dht: courier: callto poll interval -1ns is not within 2m0s", CourierConfig{Device: id, CalltoPoll: -1}},
		{"dht: courier: republish interval 1h13m0s is not within 1h12m0s", CourierConfig{Device: id, Republish: 73 * time.Minute}},
		{"dht: courier: 7 addresses to announce, at most 6", CourierConfig{Device: id, Announce: make([]netip.AddrPort, 7)}},
	} {
		if _, err := NewCourier(n, c.cfg); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestPollIntervalsKeepToTheBudget(t *testing.T) {
	for _, c := range []struct {
		mode     Mode
		contacts int
		want     time.Duration
	}{
		{Private, 1, 2 * time.Second},
		{Private, 20, 2 * time.Second},
		{Private, 100, 10 * time.Second},
		{Private, 4000, maxPoll},
		{Mainline, 1, 30 * time.Second},
		{Mainline, 30, 30 * time.Second},
		{Mainline, 45, 45 * time.Second},
		{Mainline, 1000, maxPoll},
	} {
		cfg := CourierConfig{Device: &identity.Device{}}
		if err := cfg.check(c.mode); err != nil {
			t.Fatal(err)
		}
		courier := &Courier{node: &Node{cfg: Config{Mode: c.mode}}, cfg: cfg}
		if got := courier.pollInterval(c.contacts); got != c.want {
			t.Errorf("%v, %d contacts: %v, want %v", c.mode, c.contacts, got, c.want)
		}
	}
}

func TestRoundsAreFairAndForget(t *testing.T) {
	contacts := make([]identity.DeviceID, 20)
	for i := range contacts {
		binary.BigEndian.PutUint32(contacts[i][:], uint32(i))
	}
	r := rounds{due: map[identity.DeviceID]time.Time{}}
	now := time.Unix(1_800_000_000, 0)
	if got := r.take(contacts, now, time.Second, 8); len(got) > 1 {
		t.Errorf("%d contacts at once at the start, want them spread over the interval", len(got))
	}
	now = now.Add(time.Second)
	seen := map[identity.DeviceID]int{}
	for range 5 {
		take := r.take(contacts, now, time.Second, 8)
		if len(take) > 8 {
			t.Fatalf("%d taken, room for 8", len(take))
		}
		for _, peer := range take {
			seen[peer]++
			r.set(peer, now) // due again at once: there is more to do than time for it
		}
		now = now.Add(time.Millisecond)
	}
	for _, peer := range contacts {
		if seen[peer] < 1 || seen[peer] > 3 {
			t.Errorf("contact %x had %d turns of 40 for 20, want 1 to 3", peer[:4], seen[peer])
		}
	}
	r.take(contacts[:3], now, time.Second, 8)
	r.set(contacts[5], now) // its poll ended after it was removed
	if got := len(r.due); got != 3 {
		t.Errorf("%d contacts remembered, want 3", got)
	}
}

// The next look is when the next slot is due, not at the next of some ticks; what finds no room now is looked at again with the next tick.
func TestRoundsWaitForWhatIsDue(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	id := func(n byte) identity.DeviceID { return identity.DeviceID{n} }
	for _, c := range []struct {
		name string
		due  []time.Duration
		want time.Duration
	}{
		{"nobody", nil, time.Second},
		{"the next of several", []time.Duration{700 * time.Millisecond, 30 * time.Millisecond}, 30 * time.Millisecond},
		{"one that is far away", []time.Duration{time.Minute}, time.Second},
		{"one that found no room", []time.Duration{-time.Millisecond}, time.Second},
	} {
		r := rounds{due: map[identity.DeviceID]time.Time{}}
		for i, d := range c.due {
			r.due[id(byte(i+1))] = now.Add(d)
		}
		if got := r.pause(now, time.Second); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestMailboxesRememberedAreBounded(t *testing.T) {
	c := &Courier{seen: map[[32]byte]seen{}}
	key := func(n int) (k [32]byte) {
		binary.BigEndian.PutUint32(k[:], uint32(n))
		return k
	}
	for i := range maxSeen + 10 {
		c.markSeen(key(i), seen{1, int64(i / (maxSeen / 4))}) // four hours' worth
	}
	if got := len(c.seen); got > maxSeen {
		t.Errorf("%d mailboxes remembered, want %d at most", got, maxSeen)
	}
	if c.lastSeen(key(maxSeen+9)) != 1 || c.lastSeen(key(0)) != 0 {
		t.Error("the oldest should have been forgotten, and the newest kept")
	}
}

// TestACallBegunBeforeThePeerIsUp: two nodes only, and the other one is the bootstrap node, which starts later.
func TestACallBegunBeforeThePeerIsUp(t *testing.T) {
	t.Parallel()
	at := freePort(t)
	na := listen(t, at.String())
	a := newDevice(t, na, 0, nil)
	eventually(t, "the first node to try in vain", func() bool { return na.Stats().Timeouts > 0 })

	id, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	b := &device{Device: id, contacts: []identity.DeviceID{a.ID()}}
	a.add(b.ID())
	a.start(t)
	answered := make(chan error, 1)
	go func() {
		_, err := a.sig.Call(context.Background(), b.ID(), []byte("offer"))
		answered <- err
	}()
	eventually(t, "the call to begin", func() bool { return na.Stats().Lookups > 0 })
	b.node = listenAt(t, at)
	b.carry(t, 0, nil)
	b.start(t)
	if err := await(t, answered, "the answer"); err != nil {
		t.Error(err)
	}
	mustCall(t, b, a) // and the other way round
}

// TestNothingIsLeftRunning: Serve and Call return after all they started has ended, Close after all that is ours.
func TestNothingIsLeftRunning(t *testing.T) {
	nodes := mesh(t, 2)
	a, b := newDevice(t, nodes[0], 0, nil), newDevice(t, nodes[1], 0, nil)
	befriend(t, a, b)
	mustCall(t, a, b)
	ctx, cancel := context.WithCancel(t.Context())
	calls := make(chan error, 1)
	go func() {
		id, _ := identity.New()
		_, err := a.sig.Call(ctx, id.ID(), nil) // nobody has this id
		calls <- err
	}()
	eventually(t, "the call to begin", func() bool { return a.sig.Stats().Calls == 2 })
	cancel()
	if err := await(t, calls, "the call to end"); err == nil {
		t.Error("answered by nobody")
	}
	a.stop()
	b.stop()
	for _, n := range nodes {
		_ = n.Close()
	}
	stacks := func() string {
		buf := make([]byte, 1<<20)
		return string(buf[:runtime.Stack(buf, true)])
	}
	for _, ours := range []string{"signalling.(*", "dht.(*Courier", "dht.(*Node)", "dht.(*mail)", "dht.(*direct)", "dht.(*callto)", "dht.(*publisher)", "dht.(*question)"} {
		if s := stacks(); strings.Contains(s, "traverse.internal/"+ours) {
			t.Errorf("%s is left running:\n%s", ours, s)
		}
	}
}

// fetched is the best record of peer that one lookup finds.
func fetched(ctx context.Context, c *Courier, peer identity.DeviceID) (best record, ok bool) {
	var mu sync.Mutex
	c.fetch(ctx, peer, func(r record) {
		mu.Lock()
		defer mu.Unlock()
		if !ok || r.newer(best) {
			best, ok = r, true
		}
	})
	return best, ok
}

// A device that restarted within a second has two records that hold equally long, and a node that missed the second put still has the first. The one that
// comes first is told at once, and the newer one within the same lookup. Here the old one is nearest of all, in the caller's own store.
func TestTheNewerOfTwoRecordsIsFound(t *testing.T) {
	t.Parallel()
	nodes := mesh(t, 3)
	a, b := newDevice(t, nodes[1], RouteDirect, nil), newDevice(t, nodes[2], RouteDirect, nil)
	a.add(b.ID())
	b.add(a.ID())
	secret, err := b.courier.secret(a.ID())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s := pairSlot(secret, forPresence, b.ID(), a.ID(), hourOf(now))
	keep := func(n *Node, seq int64, at string) {
		sealed, err := b.courier.sealRecord(a.ID(), signalling.RequestID{byte(seq)}, places{addrs: []netip.AddrPort{netip.MustParseAddrPort(at)}}, now.Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		put := signed(s.key, seq, sealed)
		if err := n.store.putOwn(put.ToItem()); err != nil {
			t.Fatal(err)
		}
	}
	const before, after = "127.0.0.1:1001", "127.0.0.1:1002"
	keep(nodes[1], 1, before)
	keep(nodes[0], 2, after)

	var told []string
	for range 10 { // a lookup goes on for 100 ms; on a busy machine the other node may take longer
		told = nil
		a.courier.finds = finds{byPeer: map[identity.DeviceID]*find{}}
		a.courier.lookup(t.Context(), b.ID(), func() (more bool) {
			if r, ok := a.courier.recall(b.ID()); ok && !slices.Contains(told, r.addrs[0].String()) {
				told = append(told, r.addrs[0].String())
			}
			return true
		})
		if n := len(told); n > 0 && told[n-1] == after {
			return
		}
	}
	t.Errorf("ten lookups told of %v, want %s last", told, after)
}
