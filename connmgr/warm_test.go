package connmgr

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"traverse.internal/core/ice"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

// cutRelayed breaks the relayed links there are; those that are kept, too.
func (n *twoWays) cutRelayed() {
	n.mu.Lock()
	links := n.relayed
	n.relayed = nil
	n.mu.Unlock()
	for _, l := range links {
		l.(*pipeEnd).breakBoth()
	}
}

// gathered counts the attempts of both devices.
func gathered(a *testDevice) int {
	a.node.net.mu.Lock()
	defer a.node.net.mu.Unlock()
	return int(a.node.net.next)
}

// moved is a session that began relayed and is on a direct path now.
func moved(t *testing.T, ways *twoWays, a, b *testDevice) net.Conn {
	t.Helper()
	ch, _, err := a.Connect(testCtx(t), b.self, "echo")
	if err != nil {
		t.Fatal(err)
	}
	ways.set(true)
	on(t, ice.Direct, a, b)
	return ch
}

// The way back is the link that was kept: no call, no attempt, nothing asked of a relay. A path that swallows what it is given is found
// out 3 s after the silence is noticed, which a writer does in 250 ms and an idle session in 5 s.
func TestWayBackIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		silent, busy bool
		most         time.Duration
	}{
		"broken":         {false, false, 300 * time.Millisecond},
		"silent, busy":   {true, true, 3800 * time.Millisecond},
		"silent, idle":   {true, false, 8600 * time.Millisecond},
		"broken, writes": {false, true, 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			overTwoWays(t, func(t *testing.T, ways *twoWays, a, b *testDevice) {
				ch := moved(t, ways, a, b)
				time.Sleep(time.Minute)
				if st := a.Stats(); st.Warm != 1 {
					t.Fatalf("%d links are kept, want 1", st.Warm)
				}
				before := gathered(a)
				ways.set(false)
				ways.drop(c.silent)
				began := time.Now()
				if c.busy {
					go func() { _, _ = ch.Write([]byte("into the dark")) }()
				}
				on(t, ice.Relayed, a, b)
				if took := time.Since(began); took > c.most {
					t.Errorf("back after %v, want %v at most", took, c.most)
				}
				if n := gathered(a) - before; n != 0 {
					t.Errorf("%d attempts were made for the way back", n)
				}
				if n := a.Stats().Revived; n != 1 || a.Stats().Warm != 0 {
					t.Errorf("revived %d times, %d links kept; want 1 and 0", n, a.Stats().Warm)
				}
				if c.busy {
					got := make([]byte, len("into the dark"))
					if _, err := ch.Read(got); err != nil || string(got) != "into the dark" {
						t.Errorf("%q, %v came back", got, err)
					}
				}
				roundTrip(t, ch, bytes.Repeat([]byte("and on "), 10_000))
			})
		})
	}
}

// Where the relay has died meanwhile the session is called anew, as ever.
func TestKeptRelayDied(t *testing.T) {
	overTwoWays(t, func(t *testing.T, ways *twoWays, a, b *testDevice) {
		ch := moved(t, ways, a, b)
		time.Sleep(time.Second)
		ways.cutRelayed()
		time.Sleep(time.Second)
		if n := a.Stats().Warm + b.Stats().Warm; n != 0 {
			t.Fatalf("%d dead links are kept", n)
		}
		before := gathered(a)
		ways.set(false)
		ways.drop(false)
		on(t, ice.Relayed, a, b)
		if gathered(a) == before || a.Stats().Revived != 0 {
			t.Error("not called anew")
		}
		roundTrip(t, ch, []byte("anew"))
	})
}

// The relay dies while the session moves away from it, and while it goes back to it.
func TestRelayDiesDuringMove(t *testing.T) {
	t.Run("away", func(t *testing.T) {
		overTwoWays(t, func(t *testing.T, ways *twoWays, a, b *testDevice) {
			hold := make(chan struct{})
			ways.hold = hold
			ch, _, err := a.Connect(testCtx(t), b.self, "echo")
			if err != nil {
				t.Fatal(err)
			}
			ways.set(true)
			time.Sleep(time.Second) // the try is gathering
			ways.cutRelayed()
			ways.mu.Lock()
			ways.hold = nil
			ways.mu.Unlock()
			close(hold)
			on(t, ice.Direct, a, b)
			roundTrip(t, ch, []byte("still there"))
		})
	})
	t.Run("back", func(t *testing.T) {
		overTwoWays(t, func(t *testing.T, ways *twoWays, a, b *testDevice) {
			ch := moved(t, ways, a, b)
			time.Sleep(time.Second)
			ways.set(false)
			ways.mu.Lock()
			for _, l := range ways.relayed { // it swallows everything by now
				l.(*pipeEnd).out.freeze()
			}
			ways.mu.Unlock()
			ways.drop(true)
			began := time.Now()
			on(t, ice.Relayed, a, b)
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("a new link took %v", took)
			}
			roundTrip(t, ch, []byte("over another relay"))
		})
	})
}

// What is kept has an end in time, and ends with the session.
func TestWarmEnds(t *testing.T) {
	overTwoWays(t, func(t *testing.T, ways *twoWays, a, b *testDevice) {
		moved(t, ways, a, b)
		time.Sleep(DefaultWarm - time.Second)
		if a.Stats().Warm != 1 || b.Stats().Warm != 1 {
			t.Fatal("not kept for as long as it should be")
		}
		time.Sleep(2 * time.Second)
		if a.Stats().Warm != 0 || b.Stats().Warm != 0 {
			t.Error("kept for longer than it should be")
		}
	})
	overTwoWays(t, func(t *testing.T, ways *twoWays, a, b *testDevice) {
		moved(t, ways, a, b)
		a.Disconnect(b.self)
		time.Sleep(time.Second)
		if a.Stats().Warm != 0 || b.Stats().Warm != 0 {
			t.Error("kept for a session that is over")
		}
	})
}

func TestNoWarm(t *testing.T) {
	overTwoWays(t, func(t *testing.T, ways *twoWays, a, b *testDevice) {
		ch := moved(t, ways, a, b)
		time.Sleep(time.Second)
		if a.Stats().Warm != 0 {
			t.Fatal("a link is kept")
		}
		ways.set(false)
		ways.drop(false)
		on(t, ice.Relayed, a, b)
		roundTrip(t, ch, []byte("anew"))
	}, func(c *Config) { c.Warm = -1 })
}

// TestStory: what happened to the links is told, in order, with the sign by which one was found dead.
func TestStory(t *testing.T) {
	overTwoWays(t, func(t *testing.T, ways *twoWays, a, b *testDevice) {
		ch := moved(t, ways, a, b)
		time.Sleep(time.Second)
		ways.set(false)
		ways.drop(true)
		go func() { _, _ = ch.Write([]byte("x")) }()
		on(t, ice.Relayed, a, b)
		story := a.Story(b.self)
		var got []string
		for _, e := range story {
			line := string(e.Kind) + " " + e.Route.Kind + " " + string(e.Route.Reason)
			if e.Kept {
				line += " kept"
			}
			got = append(got, line)
		}
		want := []string{
			"connected relayed RELAY_PUNCH_TIMEOUT", "path direct PUNCHED_TCP", "link-down direct PUNCHED_TCP",
			"link-up relayed RELAY_DIRECT_DEGRADED kept", "path relayed RELAY_DIRECT_DEGRADED kept",
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("the story is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if len(story) == len(want) && (story[2].Err == nil || !strings.Contains(story[2].Err.Error(), "beacon")) {
			t.Errorf("it died by %v, want a beacon without an answer", story[2].Err)
		}
		for range 100 {
			a.tell(Event{Kind: EventLinkUp, Peer: b.self})
		}
		if n := len(a.Story(b.self)); n != maxStory {
			t.Errorf("%d events are kept, want %d", n, maxStory)
		}
	})
}

// TestPending: a relayed session says that a direct path is being tried, until the first try has failed.
func TestPending(t *testing.T) {
	overTwoWays(t, func(t *testing.T, ways *twoWays, a, b *testDevice) {
		_, info, err := a.Connect(testCtx(t), b.self, "echo")
		if err != nil {
			t.Fatal(err)
		}
		if info.Route.Reason != reason.RelayPendingPunch || b.Sessions()[0].Route.Reason != reason.RelayPendingPunch {
			t.Errorf("%s and %s, want RELAY_PENDING_PUNCH", info.Route.Reason, b.Sessions()[0].Route.Reason)
		}
		time.Sleep(2 * time.Second)
		for _, d := range []*testDevice{a, b} {
			if r := d.Sessions()[0].Route.Reason; r != reason.RelayPunchTimeout {
				t.Errorf("%s after the first try, want RELAY_PUNCH_TIMEOUT", r)
			}
		}
	})
	overTwoWays(t, func(t *testing.T, ways *twoWays, a, b *testDevice) {
		_, info, err := a.Connect(testCtx(t), b.self, "echo")
		if err != nil || info.Route.Reason != reason.RelayPunchTimeout {
			t.Errorf("%s, %v; nothing is tried here", info.Route.Reason, err)
		}
	}, func(c *Config) { c.NoUpgrade = true })
}

// policyNode is a device whose policy is a test's to change.
type policyNode struct{ twoWayNode }

func (n policyNode) GatherWith(ctx context.Context, policy ice.Policy) (PathAttempt, error) {
	at, err := n.Gather(ctx)
	if policy == ice.DirectOnly {
		return n.GatherDirect(ctx)
	}
	if err == nil && policy == ice.RelayOnly {
		w := at.(twoWayAttempt)
		w.relay = true
		return w, nil
	}
	return at, err
}

// TestRepolicy: a session follows what is wanted for its device, and ends where there is no such path.
func TestRepolicy(t *testing.T) {
	var policy atomic.Uint32
	is := func(p ice.Policy) { policy.Store(uint32(p)) }
	run := func(name string, scenario func(t *testing.T, ways *twoWays, a, b *testDevice)) {
		t.Run(name, func(t *testing.T) {
			is(ice.Auto)
			first := true
			overTwoWays(t, scenario, func(c *Config) {
				if first { // one device has a policy, the other none
					c.Policy = func(identity.DeviceID) ice.Policy { return ice.Policy(policy.Load()) }
				}
				c.Paths, first = policyNode{c.Paths.(twoWayNode)}, false
			})
		})
	}
	owner := func(a, b *testDevice) (*testDevice, *testDevice) {
		if a.cfg.Policy != nil {
			return a, b
		}
		return b, a
	}
	run("relay-only, by what is kept", func(t *testing.T, ways *twoWays, a, b *testDevice) {
		ch := moved(t, ways, a, b)
		is(ice.RelayOnly)
		me, other := owner(a, b)
		me.Repolicy(other.self)
		on(t, ice.Relayed, a, b)
		if r := me.Sessions()[0].Route.Reason; r != reason.RelayPolicy {
			t.Errorf("reason %s, want RELAY_POLICY", r)
		}
		roundTrip(t, ch, []byte("moved"))
		tried := ways.tried()
		time.Sleep(time.Hour)
		if ways.tried() != tried {
			t.Error("a direct path was looked for all the same")
		}
		on(t, ice.Relayed, a, b)
		is(ice.Auto)
		me.Repolicy(other.self)
		on(t, ice.Direct, a, b)
		roundTrip(t, ch, []byte("and back"))
	})
	run("relay-only, by a new link", func(t *testing.T, ways *twoWays, a, b *testDevice) {
		ch := moved(t, ways, a, b)
		time.Sleep(DefaultWarm + time.Second)
		is(ice.RelayOnly)
		me, other := owner(a, b)
		me.Repolicy(other.self)
		on(t, ice.Relayed, a, b)
		roundTrip(t, ch, []byte("moved"))
	})
	run("direct-only, where there is none", func(t *testing.T, ways *twoWays, a, b *testDevice) {
		ch, _, err := a.Connect(testCtx(t), b.self, "echo")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		is(ice.DirectOnly)
		me, other := owner(a, b)
		me.Repolicy(other.self)
		if _, err := ch.Read(make([]byte, 1)); err == nil {
			t.Error("the session goes on over the relay")
		}
	})
	run("direct-only", func(t *testing.T, ways *twoWays, a, b *testDevice) {
		ch, _, err := a.Connect(testCtx(t), b.self, "echo")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		ways.set(true)
		is(ice.DirectOnly)
		me, other := owner(a, b)
		me.Repolicy(other.self)
		on(t, ice.Direct, a, b)
		time.Sleep(time.Second)
		if me.Stats().Warm != 0 {
			t.Error("a relayed link is kept against the policy")
		}
		roundTrip(t, ch, []byte("moved"))
	})
}
