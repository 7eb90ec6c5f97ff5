package ice

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"traverse.internal/core/reason"
)

// TestGatherDirect: two endpoints with a relay each find a direct path without borrowing anything there.
func TestGatherDirect(t *testing.T) {
	noGoroutines(t)
	relay := &fakeRelay{}
	a, b := listenTest(t, relay.config(Config{})), listenTest(t, relay.config(Config{}))
	caller, err := a.GatherDirect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	called, err := b.GatherDirect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(relay.loans); n != 0 {
		t.Errorf("%d addresses were borrowed", n)
	}
	ended := make(chan error, 1)
	go func() {
		p, err := called.Negotiate(t.Context(), Answerer, caller.Offer())
		if err == nil {
			_, err = p.Conn.Write([]byte{0x16, 3})
			defer p.Close()
		}
		ended <- err
	}()
	p, err := caller.Negotiate(t.Context(), Offerer, called.Offer())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if p.Route.Kind != Direct {
		t.Errorf("a %s path", p.Route.Kind)
	}
	var none *NoPathError
	if _, err := listenTest(t, relay.config(Config{Policy: RelayOnly})).GatherDirect(t.Context()); !errors.As(err, &none) || none.Code != reason.RelayPolicy {
		t.Errorf("relay-only: %v, want RELAY_POLICY", err)
	}
}

func TestRepunch(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 30 * time.Second, 1: time.Minute, 4: 8 * time.Minute, 5: 10 * time.Minute, 1000: 10 * time.Minute} {
		if got := Repunch(n, 30*time.Second, 10*time.Minute); got != want {
			t.Errorf("try %d after %v, want %v", n, got, want)
		}
	}
}

// TestTriedDirect: what went through a relay of either side was no try of a direct path, over TCP or UDP.
func TestTriedDirect(t *testing.T) {
	noGoroutines(t)
	a, err := listenTest(t, Config{}).Gather(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(lo4, port) }
	check := func(what string, wantTCP, wantUDP bool) {
		t.Helper()
		if tcp, udp := a.triedDirect(); tcp != wantTCP || udp != wantUDP {
			t.Errorf("%s: tried TCP %v and UDP %v, want %v and %v", what, tcp, udp, wantTCP, wantUDP)
		}
	}
	check("nothing", false, false)
	a.legs[at(1)] = &leg{addr: at(1), relayed: true, tries: 3}
	a.udp.legs[udpKey{true, at(2)}] = &udpLeg{typ: TypeHost, offered: true, checks: 3}
	a.udp.legs[udpKey{false, at(3)}] = &udpLeg{typ: TypeRelay, offered: true, checks: 3}
	a.udp.legs[udpKey{false, at(4)}] = &udpLeg{typ: TypeHost, offered: true} // not tried yet
	check("relays", false, false)
	a.udp.legs[udpKey{false, at(4)}].checks = 1
	check("UDP", false, true)
	a.legs[at(5)] = &leg{addr: at(5), tries: 1}
	check("TCP", true, true)
}

// What became of an address that is dialled, in the words of `node why`: a dial into a black hole is no way that was not tried.
func TestStatesOfADial(t *testing.T) {
	for _, c := range []struct {
		leg  leg
		want string
	}{
		{leg{}, "not tried"},
		{leg{tries: 1}, "no answer"},
		{leg{tries: 2, err: errors.New("connection refused")}, "no connection"},
	} {
		if got := c.leg.state(); got != c.want {
			t.Errorf("%d dials, %v: %q, want %q", c.leg.tries, c.leg.err, got, c.want)
		}
	}
}
