package dht

import (
	"context"
	"crypto/ed25519"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/signalling"
)

var strangerKey = func() (k struct {
	private ed25519.PrivateKey
	public  [32]byte
},
) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	k.private, k.public = private, [32]byte(public)
	return k
}()

// TestAmongHostileNodes: pairs of contacts find each other's presence and call each other by slots alone, which is the way that needs most of a DHT, while
// nodes come and go and many are hostile. Times are simulated: two minutes in which 30 % of the nodes are cut off and replaced.
func TestAmongHostileNodes(t *testing.T) {
	every := slices.Sorted(maps.Keys(vices))
	for _, c := range []struct {
		name    string
		mode    Mode
		nodes   int
		hostile int // percent
		vices   []string
		churn   int // percent in two minutes
		pairs   int
		present float64 // share of the lookups that must find presence
		called  float64 // share of the calls that must be answered
	}{
		{"private, 200 nodes, churn, every vice", Private, 200, 20, every, 30, 3, 0.9, 0.9},
		{"mainline, 60 nodes, churn, every vice", Mainline, 60, 20, every, 30, 3, 0.9, 0.9},
	} {
		t.Run(c.name, func(t *testing.T) {
			if raced {
				t.Skip("the race detector's own runtime has crashed on networks of this size; `make race` runs this test without it afterwards")
			}
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, c.mode, 1)
				var fixed, others []*Node
				for i := range c.nodes {
					switch {
					case i < boots+2*c.pairs:
						fixed = append(fixed, s.start(t, nil))
					case i*100 < (boots+2*c.pairs)*100+c.hostile*c.nodes:
						fixed = append(fixed, s.start(t, vices[c.vices[i%len(c.vices)]]))
					default:
						others = append(others, s.start(t, nil))
					}
					time.Sleep(20 * time.Millisecond)
				}
				s.settled(t)
				time.Sleep(20 * time.Second) // and know each other

				var pairs [][2]*device
				for i := range c.pairs {
					a, b := newDevice(t, fixed[boots+2*i], RouteSlot, modeTimes), newDevice(t, fixed[boots+2*i+1], RouteSlot, modeTimes)
					befriend(t, a, b)
					pairs = append(pairs, [2]*device{a, b})
				}
				time.Sleep(10 * time.Second)

				before := total(fixed[boots : boots+2*c.pairs])
				var mu sync.Mutex
				var wg sync.WaitGroup
				var calls, answered, lookups, found int
				goes := 0
				toGo := c.churn * c.nodes / 100
				const rounds = 4
				for round := range rounds {
					next := time.Now().Add(2 * time.Minute / rounds)
					for goes*rounds < toGo*(round+1) {
						k := goes % len(others)
						s.kill(others[k])
						others[k] = s.start(t, nil)
						goes++
					}
					for i, p := range pairs {
						a, b := p[(round+i)%2], p[(round+i+1)%2]
						wg.Go(func() {
							sees := sees(t, a, b, signalling.DefaultPatience)
							_, err := a.sig.Call(t.Context(), b.ID(), []byte("offer"))
							mu.Lock()
							defer mu.Unlock()
							lookups, calls = lookups+1, calls+1
							if sees {
								found++
							}
							if err == nil {
								answered++
							} else {
								t.Logf("round %d, pair %d: %v", round, i, err)
							}
						})
					}
					wg.Wait()
					time.Sleep(time.Until(next))
				}
				after := total(fixed[boots : boots+2*c.pairs])
				t.Logf("%d of %d lookups found presence, %d of %d calls were answered, %d nodes went; devices made %d gets, %d puts, %d queries (%d unanswered)",
					found, lookups, answered, calls, goes, after.Gets-before.Gets, after.Puts-before.Puts,
					after.QueriesOut-before.QueriesOut, after.Timeouts-before.Timeouts)
				if got := float64(found) / float64(lookups); got < c.present {
					t.Errorf("presence was found in %.2f of the lookups, want %.2f", got, c.present)
				}
				if got := float64(answered) / float64(calls); got < c.called {
					t.Errorf("%.2f of the calls were answered, want %.2f", got, c.called)
				}
			})
		})
	}
}

// sees says whether a finds presence of b that holds, in the DHT and not in what it remembers.
func sees(t *testing.T, a, b *device, within time.Duration) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	r, ok := fetched(ctx, a.courier, b.ID())
	return ok && r.fresh(time.Now())
}

// modeTimes leaves the times to the mode.
func modeTimes(c *CourierConfig, _ *signalling.Config) { c.Poll, c.CalltoPoll, c.Republish = 0, 0, 0 }

// total adds up what nodes counted.
func total(nodes []*Node) (sum Stats) {
	for _, n := range nodes {
		s := n.Stats()
		sum.Gets += s.Gets
		sum.Puts += s.Puts
		sum.QueriesOut += s.QueriesOut
		sum.Timeouts += s.Timeouts
		sum.QueriesIn += s.QueriesIn
	}
	return sum
}

// TestOneViceAtATime: half of the nodes have it, and an item written is found all the same, by others and in its newest form.
func TestOneViceAtATime(t *testing.T) {
	if raced {
		t.Skip("the race detector's own runtime has crashed on such networks; `make race` runs this test without it afterwards")
	}
	for _, name := range slices.Sorted(maps.Keys(vices)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, Private, 2)
				var honest []*Node
				for i := range 40 {
					if i%2 == 1 {
						s.start(t, vices[name])
					} else {
						honest = append(honest, s.start(t, nil))
					}
					time.Sleep(50 * time.Millisecond)
				}
				s.settled(t)
				time.Sleep(time.Minute)
				const items = 12
				found, took := 0, time.Duration(0)
				queries := total(honest).QueriesOut
				for i := range items {
					key, public := newKey(t)
					writer, reader := honest[i%len(honest)], honest[(i+7)%len(honest)]
					for seq, value := range []string{"old", "new"} {
						if _, err := writer.Put(t.Context(), key, int64(seq+1), []byte(value)); err != nil {
							t.Logf("put %d: %v", i, err)
						}
					}
					began := time.Now()
					item, err := reader.Get(t.Context(), public, 0, nil)
					took += time.Since(began)
					if err == nil && string(item.Value) == "new" {
						found++
					} else {
						t.Logf("get %d: %q, %v", i, item.Value, err)
					}
				}
				t.Logf("%d of %d found, %v and %d queries each", found, items, took/items, (total(honest).QueriesOut-queries)/items)
				if found < items*9/10 {
					t.Errorf("%d of %d items were found, want nine of ten", found, items)
				}
				if took/items > 5*time.Second {
					t.Errorf("a get took %v, want 5 s at most", took/items)
				}
			})
		})
	}
}

// TestRecordsSurviveTheirNodes: all nodes that keep a record go at once; it is there again after the next time it is written. What nobody writes
// again is stale, and forgotten after two hours.
func TestRecordsSurviveTheirNodes(t *testing.T) {
	if raced {
		t.Skip("the race detector's own runtime has crashed on such networks; `make race` runs this test without it afterwards")
	}
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, Private, 3)
		for range 24 {
			s.start(t, nil)
			time.Sleep(50 * time.Millisecond)
		}
		s.settled(t)
		time.Sleep(10 * time.Second)
		a, b := newDevice(t, s.nodes[boots], RouteSlot, modeTimes), newDevice(t, s.nodes[boots+1], RouteSlot, modeTimes)
		befriend(t, a, b)
		fresh := func() bool { return sees(t, a, b, 5*time.Second) }
		time.Sleep(10 * time.Second)
		if !fresh() {
			t.Fatal("no presence at the start")
		}
		secret, err := b.courier.secret(a.ID())
		if err != nil {
			t.Fatal(err)
		}
		target := newSearch(pairSlot(secret, forPresence, b.ID(), a.ID(), hourOf(time.Now())).public, 0, nil).target
		gone := 0
		for _, n := range slices.Clone(s.nodes[boots+2:]) {
			if _, err := n.store.Get(target); err == nil {
				s.kill(n)
				gone++
			}
		}
		if gone < bucketK/2 {
			t.Fatalf("only %d nodes had the record, want %d or so", gone, bucketK)
		}
		time.Sleep(70 * time.Second) // it is written again each minute
		if !fresh() {
			t.Errorf("%d nodes went, and the record is not there again after it was written", gone)
		}

		b.stop() // its record holds for two and a half minutes, and is never written again
		time.Sleep(3 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if got := a.courier.Find(ctx, b.ID()); got != signalling.FoundStale {
			t.Errorf("the presence of a device that went is %v, want stale", got)
		}
		a.stop()

		for len(s.nodes) > boots+2 { // two hours of few nodes cost little
			s.kill(s.nodes[len(s.nodes)-1])
		}
		key, public := newKey(t)
		if _, err := a.node.Put(t.Context(), key, 1, []byte("once")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(itemExpiry - time.Minute)
		if _, ok := got(t.Context(), b.node, public); !ok {
			t.Error("an item was forgotten before its time")
		}
		time.Sleep(2 * time.Minute)
		if _, ok := got(t.Context(), b.node, public); ok {
			t.Error("an item is still there after two hours")
		}
	})
}
