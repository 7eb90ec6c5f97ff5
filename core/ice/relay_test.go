package ice

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"traverse.internal/core/reason"
)

// TestPolicies has who wants what, who has a relay, and what comes of it. Direct and relayed paths all work.
func TestPolicies(t *testing.T) {
	for _, c := range []struct {
		caller, callee Policy
		relays         string // "both", "caller", "callee" or ""
		kind           string // "" for no path
		reason         reason.Code
	}{
		{Auto, Auto, "both", Direct, reason.DirectLAN},
		{Auto, Auto, "", Direct, reason.DirectLAN},
		{DirectOnly, Auto, "both", Direct, reason.DirectLAN},
		{Auto, DirectOnly, "both", Direct, reason.DirectLAN},
		{DirectOnly, DirectOnly, "both", Direct, reason.DirectLAN},
		{RelayOnly, Auto, "both", Relayed, reason.RelayPolicy},
		{Auto, RelayOnly, "both", Relayed, reason.RelayPolicy},
		{RelayOnly, RelayOnly, "both", Relayed, reason.RelayPolicy},
		{RelayOnly, RelayOnly, "caller", Relayed, reason.RelayPolicy},
		{RelayOnly, RelayOnly, "callee", Relayed, reason.RelayPolicy},
		{RelayOnly, Auto, "callee", Relayed, reason.RelayPolicy},
		{RelayOnly, Auto, "", "", reason.NoPath},
		{RelayOnly, DirectOnly, "both", "", reason.RelayPolicy},
		{DirectOnly, RelayOnly, "both", "", reason.RelayPolicy},
	} {
		name := c.caller.String() + " calls " + c.callee.String() + " relays " + c.relays
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			noGoroutines(t)
			relay := &fakeRelay{}
			make1 := func(p Policy, has bool) *Endpoint {
				cfg := Config{Policy: p}
				if has {
					cfg = relay.config(cfg)
				}
				return listenTest(t, cfg)
			}
			caller := make1(c.caller, c.relays == "both" || c.relays == "caller")
			callee := make1(c.callee, c.relays == "both" || c.relays == "callee")
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			b := connect(ctx, caller, callee)
			defer b.close()
			if c.kind == "" {
				if err := errors.Join(b.offererErr, b.answererErr); reason.Of(err) != c.reason || ctx.Err() != nil {
					t.Fatalf("got %v (context %v), want %v at once", err, ctx.Err(), c.reason)
				}
				return
			}
			if err := errors.Join(b.offererErr, b.answererErr); err != nil {
				t.Fatal(err)
			}
			for _, p := range []*Path{b.offerer, b.answerer} {
				if p.Route.Kind != c.kind || p.Route.Reason != c.reason || p.Route.Relay.IsValid() != (c.kind == Relayed) {
					t.Errorf("%v has route %+v, want %s and %s", p.Role, p.Route, c.kind, c.reason)
				}
			}
			talk(t, b, 100_000)
			b.close()
			eventually(t, "allocations to be given back", func() bool { return relay.open() == 0 }, func() string { return "" })
		})
	}
}

// TestRelayOnlyOffersNothingElse: neither side's offer has a direct address to dial when one of them is relay-only.
func TestRelayOnlyOffersNothingElse(t *testing.T) {
	relay := &fakeRelay{}
	caller := listenTest(t, relay.config(Config{Policy: RelayOnly}))
	callee := listenTest(t, relay.config(Config{}))
	at, err := caller.Gather(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	called, err := callee.Gather(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer called.Close()
	if o := called.Offer(); len(o.Candidates) == 0 {
		t.Errorf("before it knows the caller's policy: %+v, want candidates", o)
	}
	if err := called.Permit(t.Context(), at.Offer()); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Offer{at.Offer(), called.Offer()} {
		if len(o.Candidates) != 0 || len(o.Relays) == 0 || len(o.Sources) == 0 {
			t.Errorf("offer %+v, want relays, sources and no candidate", o)
		}
	}
}

// TestRelayFallback: where direct connections do not come through, the relay of either side does.
func TestRelayFallback(t *testing.T) {
	for _, who := range []string{"caller", "callee"} {
		t.Run(who, func(t *testing.T) {
			relay := &fakeRelay{}
			with := relay.config(Config{})
			callerCfg, calleeCfg := with, Config{}
			if who == "callee" {
				callerCfg, calleeCfg = calleeCfg, callerCfg
			}
			caller, callee := listenTest(t, callerCfg), listenTest(t, calleeCfg)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			b := connectVia(ctx, caller, callee, filtered(t))
			defer b.close()
			if err := errors.Join(b.offererErr, b.answererErr); err != nil {
				t.Fatal(err)
			}
			for _, p := range []*Path{b.offerer, b.answerer} {
				if p.Route.Kind != Relayed || p.Route.Reason != reason.RelayTCPFiltered || p.Route.Via != "relay/tcp" {
					t.Errorf("route %+v, want relayed because TCP is filtered", p.Route)
				}
			}
			talk(t, b, 100_000)
		})
	}
}

// TestRelayIPv6: a relayed address of the other family than everything else.
func TestRelayIPv6(t *testing.T) {
	needIPv6(t)
	relay := &fakeRelay{}
	caller := listenTest(t, relay.config(Config{Addrs: []netip.Addr{lo6}, Policy: RelayOnly}))
	callee := listenTest(t, Config{Addrs: []netip.Addr{lo6}})
	b := mustConnect(t, caller, callee)
	if !b.offerer.Route.Relay.Addr().Is6() || b.offerer.Route.Kind != Relayed {
		t.Errorf("route %+v, want one through an IPv6 relay", b.offerer.Route)
	}
	talk(t, b, 100_000)
}

// TestLatePermission: the answerer dials the caller's relay before the caller has permitted it, is reset, and tries again.
func TestLatePermission(t *testing.T) {
	relay := &fakeRelay{hold: make(chan struct{})}
	caller := listenTest(t, relay.config(Config{Policy: RelayOnly}))
	callee := listenTest(t, Config{})
	go func() {
		eventually(t, "a refused dial", func() bool { return callee.Stats().Dials > 2 }, func() string { return "" })
		close(relay.hold)
	}()
	b := mustConnect(t, caller, callee)
	if b.answerer.Route.Kind != Relayed {
		t.Errorf("route %+v, want a relayed one", b.answerer.Route)
	}
	talk(t, b, 1000)
}

// TestRelayFailure: what is said about a relay that does not lend.
func TestRelayFailure(t *testing.T) {
	for _, c := range []struct {
		name  string
		relay *fakeRelay
		want  reason.Code
	}{
		{"wrong password", &fakeRelay{failWith: refusal(reason.RelayAuth)}, reason.RelayAuth},
		{"quota", &fakeRelay{failWith: refusal(reason.RelayQuota)}, reason.RelayQuota},
		{"down", &fakeRelay{failWith: errors.New("connection refused")}, reason.RelayUnreachable},
		{"hangs", &fakeRelay{hang: true}, reason.RelayUnreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			noGoroutines(t)
			short := Config{GatherTimeout: 50 * time.Millisecond, RelayGatherTimeout: 50 * time.Millisecond}
			only := short
			only.Policy = RelayOnly
			_, err := listenTest(t, c.relay.config(only)).Gather(t.Context())
			if none := (*NoPathError)(nil); !errors.As(err, &none) || reason.Of(err) != c.want {
				t.Errorf("relay-only: got %v, want a NoPathError for %v", err, c.want)
			}

			// With anything else to offer it is no matter, but it is known.
			caller, callee := listenTest(t, c.relay.config(short)), listenTest(t, Config{})
			at, err := caller.Gather(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := at.RelayErr(); reason.Of(err) != c.want {
				t.Errorf("RelayErr is %v, want %v", err, c.want)
			}
			at.Close()
			b := mustConnect(t, caller, callee)
			if b.offerer.Route.Kind != Direct {
				t.Errorf("route %+v, want a direct one", b.offerer.Route)
			}

			// Without a direct way the relay is what is wrong.
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			failed := connectVia(ctx, caller, callee, filtered(t))
			defer failed.close()
			if err := failed.offererErr; reason.Of(err) != c.want || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("filtered: got %v, want %v and a deadline", err, c.want)
			}
			if err := failed.answererErr; reason.Of(err) != reason.NoPath {
				t.Errorf("filtered, the other side: got %v, want %v", err, reason.NoPath)
			}
		})
	}
}

// TestRelayDeath: a path shows that our relay took its allocation away.
func TestRelayDeath(t *testing.T) {
	relay := &fakeRelay{}
	caller := listenTest(t, relay.config(Config{Policy: RelayOnly}))
	callee := listenTest(t, Config{})
	b := mustConnect(t, caller, callee)
	select {
	case <-b.offerer.Done():
		t.Fatalf("done while everything works: %v", b.offerer.Err())
	case <-b.answerer.Done():
		t.Fatal("the peer's end is done")
	default:
	}
	cause := errors.New("the relay is gone")
	for _, l := range relay.loans {
		l.end(cause)
	}
	<-b.offerer.Done()
	if err := b.offerer.Err(); !errors.Is(err, cause) {
		t.Errorf("Err is %v, want %v", err, cause)
	}
	b.offerer.Close()
	if err := b.offerer.Err(); !errors.Is(err, ErrClosed) {
		t.Errorf("Err after Close is %v, want ErrClosed", err)
	}
	b.answerer.Close()
	<-b.answerer.Done()
}
