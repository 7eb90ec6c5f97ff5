package ice

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// TestCrossing has both devices call each other at once, again and again: all attempts of a round want the same pair of
// addresses and ports, and every one gets a path of its own.
func TestCrossing(t *testing.T) {
	for _, c := range []struct {
		name   string
		rounds int
		each   int // attempts from each side in a round
	}{
		{"one each way", 40, 1},
		{"eight each way", 3, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			noGoroutines(t)
			one, two := listenTest(t, Config{}), listenTest(t, Config{})
			for round := range c.rounds {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				results := make([]both, 2*c.each)
				var wg sync.WaitGroup
				for i := range results {
					wg.Go(func() {
						if i%2 == 0 {
							results[i] = connect(ctx, one, two)
						} else {
							results[i] = connect(ctx, two, one)
						}
					})
				}
				wg.Wait()
				cancel()
				for i, b := range results {
					if err := errors.Join(b.offererErr, b.answererErr); err != nil {
						t.Fatalf("round %d, attempt %d: %v", round, i, err)
					}
					talk(t, b, 1000)
					b.close()
				}
			}
			t.Logf("one %+v", one.Stats())
			t.Logf("two %+v", two.Stats())
		})
	}
}

// TestSeveralAddresses: devices with several addresses of both families, and one that has only the other's second family.
func TestSeveralAddresses(t *testing.T) {
	needIPv6(t)
	noGoroutines(t)
	second := netip.MustParseAddr("127.0.0.2")
	many := listenTest(t, Config{Addrs: []netip.Addr{lo6, lo4, second}})
	for _, c := range []struct {
		name string
		with []netip.Addr
		want netip.Addr // of the many's end
	}{
		{"all", []netip.Addr{lo6, lo4, second}, netip.Addr{}},
		{"IPv6 only", []netip.Addr{lo6}, lo6},
		{"IPv4 only", []netip.Addr{lo4}, netip.Addr{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			other := listenTest(t, Config{Addrs: c.with})
			for range 5 {
				b := mustConnect(t, many, other)
				if got := b.offerer.Route.Local.Addr(); c.want.IsValid() && got != c.want {
					t.Errorf("route %+v, want from %v", b.offerer.Route, c.want)
				}
				talk(t, b, 1000)
				b.close()
			}
		})
	}
}

// TestWildcard: an endpoint on the wildcard address offers its interfaces, loopback included when that is allowed.
func TestWildcard(t *testing.T) {
	e, err := Listen(Config{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	at := gatherTest(t, e)
	offered := false
	for _, c := range at.Offer().Candidates {
		offered = offered || c.Addr == netip.AddrPortFrom(lo4, e.Port())
	}
	if !offered {
		t.Errorf("offer %+v lacks 127.0.0.1 and the port", at.Offer())
	}
	at.Close()
	talk(t, mustConnect(t, e, listenTest(t, Config{})), 1000)
}

// TestBest has which addresses of a machine are offered, and in what order.
func TestBest(t *testing.T) {
	var found []netip.Addr
	for _, s := range []string{
		"127.0.0.1", "::1", "10.1.2.3", "fe80::1", "169.254.1.1", "203.0.113.9", "fd00::7", "2001:db8::5", "203.0.113.9", "0.0.0.0",
	} {
		found = append(found, netip.MustParseAddr(s))
	}
	for _, c := range []struct {
		loopback bool
		want     string
	}{
		{false, "[203.0.113.9 2001:db8::5 10.1.2.3 fd00::7]"},
		{true, "[203.0.113.9 2001:db8::5 10.1.2.3 fd00::7 127.0.0.1 ::1]"},
	} {
		if got := fmt.Sprint(best(found, c.loopback)); got != c.want {
			t.Errorf("loopback %v: got %s, want %s", c.loopback, got, c.want)
		}
	}
}

// TestOffersThatLeadNowhere: addresses that a peer may not make us dial, and an offer with nothing.
func TestOffersThatLeadNowhere(t *testing.T) {
	noGoroutines(t)
	self := listenTest(t, Config{})
	at := gatherTest(t, self)
	own := at.Offer()
	if got := at.targets(&own); len(got) != 0 {
		t.Errorf("%d targets of an offer that names our own listener, want none", len(got))
	}
	at.ep.cfg.Loopback = false
	hostile := Offer{
		Ufrag: "abcd", Password: own.Password, Candidates: []Candidate{host(0, "127.0.0.1:80"), host(1, "[::1]:80")},
		Relays: []netip.AddrPort{ap("127.0.0.1:22")},
	}
	if got := at.targets(&hostile); len(got) != 0 {
		t.Errorf("%d targets on our loopback, want none", len(got))
	}
	at.ep.cfg.Loopback = true
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := at.Negotiate(ctx, Offerer, Offer{Ufrag: "abcd", Password: own.Password})
	if none := (*NoPathError)(nil); !errors.As(err, &none) {
		t.Errorf("got %v, want a NoPathError: the peer never came", err)
	}
}

// TestTooManyCandidates: an offer that is full to the brim, with the right address as the last one of each kind.
func TestTooManyCandidates(t *testing.T) {
	noGoroutines(t)
	caller, callee := listenTest(t, Config{}), listenTest(t, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	away := filtered(t)
	b := connectVia(ctx, caller, callee, func(o Offer) Offer {
		right := o.Candidates[0]
		for i := range 40 {
			c := right
			c.Priority -= uint32(i+1) << 8
			c.Addr = away(Offer{Candidates: []Candidate{c}}).Candidates[0].Addr
			c.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(i)}), c.Addr.Port())
			o.Candidates = append(o.Candidates, c)
		}
		o.trim()
		if len(o.Candidates) != MaxHosts || o.Candidates[0] != right {
			t.Errorf("trimmed to %d candidates, the first %+v; want %d and %+v", len(o.Candidates), o.Candidates[0], MaxHosts, right)
		}
		return o
	})
	defer b.close()
	if err := errors.Join(b.offererErr, b.answererErr); err != nil {
		t.Fatal(err)
	}
	talk(t, b, 1000)
}
