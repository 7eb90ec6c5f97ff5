package signalling

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

func TestCallIsAnswered(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(p *pair)
	}{
		{"by one route", func(*pair) {}},
		{"when every message arrives twice", func(p *pair) { p.routeA[0].twice, p.routeB[0].twice = true, true }},
		{"by a mailbox", func(p *pair) { p.routeA[0].keeps, p.routeB[0].keeps = true, true }},
		{"by the second route when the first loses everything", func(p *pair) { p.routeA[0].lose = 100 }},
		{"by the second route when the first fails", func(p *pair) { p.routeA[0].fail = errors.New("broken") }},
		{"when the way back is broken and another route keeps the answer", func(p *pair) {
			p.routeB[0].lose = 100
			p.routeB[1].keeps, p.routeA[1].keeps = true, true
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, "near", "far")
				c.setup(p)
				p.start(t)
				synctest.Wait()
				answer, err := p.a.Call(t.Context(), p.bob.ID(), []byte("offer"))
				if err != nil {
					t.Fatal(err)
				}
				if got, want := string(answer), "re: offer"; got != want {
					t.Errorf("answer %q, want %q", got, want)
				}
				synctest.Wait()
				if got := p.echo.handled(); got != 1 {
					t.Errorf("handled %d times, want once", got)
				}
				p.end(t)
			})
		})
	}
}

func TestCheaperRoutesHaveAHeadStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, "near", "far")
		p.routeA[0].delay = DefaultStagger - time.Millisecond
		p.start(t)
		synctest.Wait()
		if _, err := p.a.Call(t.Context(), p.bob.ID(), nil); err != nil {
			t.Fatal(err)
		}
		if got := len(p.routeA[1].sendings()); got != 0 {
			t.Errorf("the dearer route sent %d messages, want none", got)
		}
		p.routeA[0].lose = 100
		start := time.Now()
		if _, err := p.a.Call(t.Context(), p.bob.ID(), nil); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got != DefaultStagger {
			t.Errorf("answered by the second route after %v, want %v", got, DefaultStagger)
		}
		near, far := p.routeA[0].sendings(), p.routeA[1].sendings()
		if string(near[len(near)-1].Sealed) != string(far[0].Sealed) {
			t.Error("the two routes carried different bytes, want the same")
		}
		p.end(t)
	})
}

// Routes beside each other begin together, and both sides are told which one it was.
func TestRoutesBesideEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, "near", "link", "relay", "far")
		p.cfgA.Routes[2] = Beside(p.cfgA.Routes[2])
		p.cfgB.Routes[2] = Beside(p.cfgB.Routes[2])
		p.start(t)
		synctest.Wait()
		call := func(want string, after time.Duration) {
			t.Helper()
			began, ctx := time.Now(), p.a.Traced(t.Context())
			if got := p.a.Route(ctx); got != "" {
				t.Errorf("answered by %q before it was", got)
			}
			if _, err := p.a.Call(ctx, p.bob.ID(), nil); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(began); got != after {
				t.Errorf("by %s after %v, want %v", want, got, after)
			}
			if got := p.a.Route(ctx); got != want {
				t.Errorf("answered by %q, want %q", got, want)
			}
			synctest.Wait()
			if got := p.echo.route(); got != want {
				t.Errorf("the handler was told %q, want %q", got, want)
			}
		}
		p.echo.routes = func(ctx context.Context) string { return p.b.Route(ctx) }
		call("near", 0)
		p.routeA[0].lose, p.routeA[1].lose = 100, 100
		call("relay", DefaultStagger)
		p.routeA[1].lose, p.routeA[2].lose = 0, 100
		call("link", DefaultStagger)
		p.routeA[1].lose = 100
		call("far", 2*DefaultStagger)
		p.end(t)
	})
}

func TestCallsThatFailSayWhy(t *testing.T) {
	const timeout, patience = 20 * time.Second, 5 * time.Second
	for _, c := range []struct {
		name     string
		presence Presence
		within   time.Duration // of the caller's own context; 0: none
		want     reason.Code
		after    time.Duration
	}{
		{"no presence", memPresence{finding: FoundNothing}, 0, reason.NoRecord, patience},
		{"stale presence", memPresence{finding: FoundStale}, 0, reason.RecordStale, patience},
		{"present and silent", memPresence{finding: FoundFresh, after: time.Second}, 0, reason.PeerSilent, timeout},
		{"nobody looks for presence", nil, 0, reason.PeerSilent, timeout},
		{"the caller has less time", memPresence{finding: FoundFresh}, 3 * time.Second, reason.PeerSilent, 3 * time.Second},
		{"the caller has less time than patience", memPresence{finding: FoundStale}, 3 * time.Second, reason.RecordStale, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, "near")
				p.routeA[0].lose = 100
				p.cfgA.Presence, p.cfgA.Timeout, p.cfgA.Patience = c.presence, timeout, patience
				p.start(t)
				ctx := t.Context()
				if c.within > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.within)
					defer cancel()
				}
				start := time.Now()
				_, err := p.a.Call(ctx, p.bob.ID(), nil)
				if got := reason.Of(err); got != c.want {
					t.Errorf("reason %q (%v), want %q", got, err, c.want)
				}
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%v is not os.ErrDeadlineExceeded", err)
				}
				if got := time.Since(start); got != c.after {
					t.Errorf("failed after %v, want %v", got, c.after)
				}
				p.end(t)
			})
		})
	}
}

func TestCallErrorNamesWhatTheRoutesSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, "near", "far")
		p.routeA[0].fail = errors.New("no address")
		p.routeA[1].fail = errors.New("no node stored it")
		p.start(t)
		_, err := p.a.Call(t.Context(), p.bob.ID(), nil)
		want := "signalling: call " + p.bob.ID().Short() + ": device is present but did not answer: " +
			"no answer in time: i/o timeout (near: no address; far: no node stored it)"
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		p.end(t)
	})
}

func TestCallGivenUpHasNoReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, "near")
		p.routeA[0].lose = 100
		p.start(t)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := p.a.Call(ctx, p.bob.ID(), nil)
		if !errors.Is(err, context.Canceled) || reason.Of(err) != "" {
			t.Errorf("got %v with reason %q, want context.Canceled with none", err, reason.Of(err))
		}
		p.end(t)
	})
}

func TestCallToOneselfIsRefused(t *testing.T) {
	p := newPair(t, "near")
	p.start(t)
	if _, err := p.a.Call(t.Context(), p.alice.ID(), nil); !errors.Is(err, ErrSelf) {
		t.Errorf("got %v, want %v", err, ErrSelf)
	}
	p.end(t)
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	d := newDevice(t)
	all := func(identity.DeviceID) bool { return true }
	routes := []Route{&memRoute{}}
	for _, c := range []struct {
		want string
		cfg  Config
	}{
		{"signalling: config: no device", Config{Allowed: all, Routes: routes}},
		{"signalling: config: nothing says who is allowed", Config{Device: d, Routes: routes}},
		{"signalling: config: no routes", Config{Device: d, Allowed: all}},
		{"signalling: config: timeout 2m1s is not within 2m0s", Config{Device: d, Allowed: all, Routes: routes, Timeout: 121 * time.Second}},
	} {
		if _, err := New(c.cfg); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestASecondServeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, "near")
		p.start(t)
		synctest.Wait()
		if err := p.a.Serve(t.Context(), p.echo.handle); !errors.Is(err, ErrServing) {
			t.Errorf("got %v, want %v", err, ErrServing)
		}
		p.end(t)
	})
}
