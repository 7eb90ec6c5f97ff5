package connmgr

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/ice"
	"traverse.internal/core/reason"
)

// twoWays is a network with a relay and, sometimes, a direct path.
type twoWays struct {
	mu      sync.Mutex
	open    bool // direct paths come up
	direct  []net.Conn
	relayed []net.Conn
	tries   int           // attempts for direct paths alone, by callers
	hold    chan struct{} // those wait for it before they call
	changed chan struct{}
}

func (n *twoWays) set(open bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open = open
}

func (n *twoWays) tried() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tries
}

// drop makes the direct paths there are fail; silent: without a word.
func (n *twoWays) drop(silent bool) {
	n.mu.Lock()
	links := n.direct
	n.direct = nil
	n.mu.Unlock()
	for _, l := range links {
		if silent {
			l.(*pipeEnd).out.freeze()
		} else {
			l.(*pipeEnd).breakBoth()
		}
	}
}

// change is what every device sees as a change of its network.
func (n *twoWays) change() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.changed)
	n.changed = make(chan struct{})
}

// twoWayNode is a device's Pathfinder there.
type twoWayNode struct {
	*memNode
	ways *twoWays
}

func (n twoWayNode) Check([]byte) error            { return nil }
func (n twoWayNode) WantsDirect(offer []byte) bool { return len(offer) == 9 }
func (n twoWayNode) MayBeDirect() bool             { return true }

func (n twoWayNode) Changed() <-chan struct{} {
	n.ways.mu.Lock()
	defer n.ways.mu.Unlock()
	return n.ways.changed
}

func (n twoWayNode) Gather(ctx context.Context) (PathAttempt, error) {
	at, err := n.memNode.Gather(ctx)
	return twoWayAttempt{PathAttempt: at, ways: n.ways}, err
}

func (n twoWayNode) GatherDirect(ctx context.Context) (PathAttempt, error) {
	at, err := n.memNode.Gather(ctx)
	n.ways.mu.Lock()
	hold := n.ways.hold
	n.ways.mu.Unlock()
	if hold != nil {
		<-hold
	}
	return twoWayAttempt{PathAttempt: at, ways: n.ways, only: true}, err
}

type twoWayAttempt struct {
	PathAttempt
	ways *twoWays
	only bool
	// relay: the path is to be a relayed one
	relay bool
}

func (a twoWayAttempt) Offer() []byte {
	o := a.PathAttempt.Offer()
	if a.only {
		o = append(o, 1)
	}
	if a.relay {
		o = append(o, 1, 1)
	}
	return o
}

func (a twoWayAttempt) Negotiate(ctx context.Context, role ice.Role, remote []byte) (*Path, error) {
	only := a.only || len(remote) == 9
	a.ways.mu.Lock()
	open := a.ways.open
	if only && role == ice.Offerer {
		a.ways.tries++
	}
	a.ways.mu.Unlock()
	if only && !open {
		return nil, noPath{}
	}
	p, err := a.PathAttempt.Negotiate(ctx, role, remote)
	if err != nil {
		return nil, err
	}
	a.ways.mu.Lock()
	defer a.ways.mu.Unlock()
	if open && !a.relay && len(remote) != 10 {
		p.Route = ice.Route{Kind: ice.Direct, Via: "host/tcp", Reason: reason.PunchedTCP}
		a.ways.direct = append(a.ways.direct, p.Conn)
	} else {
		p.Route = ice.Route{Kind: ice.Relayed, Via: "relay/tcp", Reason: reason.RelayPunchTimeout}
		a.ways.relayed = append(a.ways.relayed, p.Conn)
	}
	return p, nil
}

// overTwoWays runs a scenario with two devices, the one with the lower id first, in fake time.
func overTwoWays(t *testing.T, scenario func(t *testing.T, ways *twoWays, a, b *testDevice), opts ...func(*Config)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ways := &twoWays{changed: make(chan struct{})}
		w.paths = func(_ *testing.T, n *memNode) Pathfinder { return twoWayNode{n, ways} }
		a, b := w.device(opts...), w.device(opts...)
		if a.self.Compare(b.self) > 0 {
			a, b = b, a
		}
		b.echo(t)
		a.echo(t)
		scenario(t, ways, a, b)
	})
}

// on waits until both devices' only session goes that way.
func on(t *testing.T, kind string, devices ...*testDevice) {
	t.Helper()
	for _, d := range devices {
		for limit := time.Now().Add(time.Hour); ; time.Sleep(50 * time.Millisecond) {
			all := d.Sessions()
			if len(all) == 1 && all[0].Route.Kind == kind && all[0].State == StateConnected {
				break
			}
			if time.Now().After(limit) {
				t.Fatalf("the session is not %s within an hour: %+v", kind, all)
			}
		}
	}
}

func (d *testDevice) migrations(from, to string, why reason.Code) uint64 {
	return d.Stats().Migrations[Migration{from, to, why}]
}

// A session that begins relayed moves to a direct path while bytes flow, loses that, goes on over the relay, and moves again: every byte
// arrives once and in order.
func TestMoveUnderLoad(t *testing.T) {
	for _, silent := range []bool{false, true} {
		name := map[bool]string{false: "broken", true: "silent"}[silent]
		t.Run(name, func(t *testing.T) {
			overTwoWays(t, func(t *testing.T, ways *twoWays, a, b *testDevice) {
				ch, info, err := a.Connect(testCtx(t), b.self, "echo")
				if err != nil {
					t.Fatal(err)
				}
				if info.Route.Kind != ice.Relayed {
					t.Fatalf("began %s", info.Route.Kind)
				}
				stop := make(chan struct{})
				sent, got := sha256.New(), sha256.New()
				var flow sync.WaitGroup
				flow.Go(func() {
					src := rand.NewChaCha8([32]byte{7})
					buf := make([]byte, 300_000)
					for {
						select {
						case <-stop:
							_ = ch.CloseWrite()
							return
						default:
						}
						_, _ = src.Read(buf)
						sent.Write(buf)
						if _, err := ch.Write(buf); err != nil {
							t.Errorf("write: %v", err)
							return
						}
						time.Sleep(500 * time.Millisecond) // fake time: the flow is as long as the scenario
					}
				})
				flow.Go(func() {
					if _, err := io.Copy(got, ch); err != nil {
						t.Errorf("read: %v", err)
					}
				})
				for range 2 {
					ways.set(true)
					on(t, ice.Direct, a, b)
					ways.set(false)
					ways.drop(silent)
					on(t, ice.Relayed, a, b)
				}
				close(stop)
				flow.Wait()
				if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
					t.Error("what came back is not what was sent")
				}
				for _, d := range []*testDevice{a, b} {
					up := d.migrations(ice.Relayed, ice.Direct, reason.PunchedTCP)
					down := d.migrations(ice.Direct, ice.Relayed, reason.RelayDirectDegraded)
					if up != 2 || down != 2 {
						t.Errorf("moved %d times up and %d down, want 2 and 2: %v", up, down, d.Stats().Migrations)
					}
				}
				if s := a.Sessions()[0]; s.SessionID != info.SessionID {
					t.Error("it is another session")
				}
				a.until(t, "an event of each move", func() bool { return a.count(EventPath) == 4 })
			})
		})
	}
}

// Whoever calls, it is the lower id that tries, and an idle session moves too.
func TestLowerIDTries(t *testing.T) {
	overTwoWays(t, func(t *testing.T, ways *twoWays, a, b *testDevice) {
		if _, _, err := b.Connect(testCtx(t), a.self, "echo"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n := ways.tried(); n != 1 {
			t.Fatalf("%d tries at once, want 1", n)
		}
		ways.set(true)
		on(t, ice.Direct, a, b)
		if a.node.callCount() != 0 || b.node.callCount() != 1 {
			t.Errorf("the lower id called %d times, the other %d; want 0 and 1: the session carries its own offers", a.node.callCount(), b.node.callCount())
		}
		if st := a.Stats(); st.Upgraded != 1 || st.UpgradesFailed != 1 {
			t.Errorf("upgraded %d, failed %d; want 1 and 1", st.Upgraded, st.UpgradesFailed)
		}
		if n := b.count(EventFailed) + a.count(EventFailed); n != 0 {
			t.Errorf("%d failed events of a session that is fine", n)
		}
	})
}

// Tries become rare, and a change of the network makes one at once. On both sides: the lower id's stands.
func TestBothTryAtOnce(t *testing.T) {
	overTwoWays(t, func(t *testing.T, ways *twoWays, a, b *testDevice) {
		ch, _, err := a.Connect(testCtx(t), b.self, "echo")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if n := ways.tried(); n < 11 || n > 14 {
			t.Errorf("%d tries in an hour, want about a dozen", n)
		}
		ways.set(true)
		hold := make(chan struct{})
		ways.mu.Lock()
		ways.hold = hold
		ways.mu.Unlock()
		ways.change()
		time.Sleep(2 * time.Second) // both are gathering now
		if a.Stats().Dialling != 1 || b.Stats().Dialling != 1 {
			t.Fatalf("trying: %d and %d, want both", a.Stats().Dialling, b.Stats().Dialling)
		}
		ways.mu.Lock()
		ways.hold = nil
		ways.mu.Unlock()
		close(hold)
		on(t, ice.Direct, a, b)
		roundTrip(t, ch, bytes.Repeat([]byte("over the one that stands "), 10_000))
		if n := b.Stats().Upgraded; n != 0 {
			t.Errorf("the higher id moved the session %d times", n)
		}
		time.Sleep(time.Hour)
		if n := a.migrations(ice.Relayed, ice.Direct, reason.PunchedTCP); n != 1 {
			t.Errorf("moved %d times, want once", n)
		}
	})
}

// A direct path that comes and goes is not followed each time.
func TestNoFlapping(t *testing.T) {
	overTwoWays(t, func(t *testing.T, ways *twoWays, a, b *testDevice) {
		if _, _, err := a.Connect(testCtx(t), b.self, "echo"); err != nil {
			t.Fatal(err)
		}
		var waits []time.Duration
		for range 4 {
			began := time.Now()
			ways.set(true)
			for !slices.ContainsFunc(a.Sessions(), func(s SessionInfo) bool { return s.Route.Kind == ice.Direct }) {
				time.Sleep(time.Second)
			}
			waits = append(waits, time.Since(began).Round(10*time.Second))
			on(t, ice.Direct, a, b)
			ways.set(false)
			ways.drop(false)
			on(t, ice.Relayed, a, b)
		}
		want := []time.Duration{0, 30 * time.Second, 2 * time.Minute, 8 * time.Minute}
		if !slices.Equal(waits, want) {
			t.Errorf("direct again after %v, want %v", waits, want)
		}
	})
}

func TestNoUpgrade(t *testing.T) {
	for name, opt := range map[string]func(*Config){
		"set":        func(c *Config) { c.NoUpgrade = true },
		"relay-only": func(c *Config) { c.Paths = relayOnlyNode{c.Paths.(twoWayNode)} },
	} {
		t.Run(name, func(t *testing.T) {
			overTwoWays(t, func(t *testing.T, ways *twoWays, a, b *testDevice) {
				if _, _, err := a.Connect(testCtx(t), b.self, "echo"); err != nil {
					t.Fatal(err)
				}
				ways.set(true)
				ways.change()
				time.Sleep(time.Hour)
				if n := ways.tried(); n != 0 {
					t.Errorf("%d tries, want none", n)
				}
				on(t, ice.Relayed, a, b)
			}, opt)
		})
	}
}

// Where one side sets it, the other's tries are met with silence.
func TestNoUpgradeAnswers(t *testing.T) {
	first := true
	overTwoWays(t, func(t *testing.T, ways *twoWays, a, b *testDevice) {
		if _, _, err := a.Connect(testCtx(t), b.self, "echo"); err != nil {
			t.Fatal(err)
		}
		ways.set(true)
		time.Sleep(time.Hour)
		on(t, ice.Relayed, a, b)
		if n := ways.tried(); n != 0 {
			t.Errorf("%d negotiations, want none", n)
		}
	}, func(c *Config) { c.NoUpgrade, first = first, false })
}

type relayOnlyNode struct{ twoWayNode }

func (relayOnlyNode) MayBeDirect() bool { return false }
