package ice

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	pionturn "github.com/pion/turn/v2"

	"traverse.internal/core/reason"
	"traverse.internal/core/turnclient"
	"traverse.internal/internal/loopback"
	"traverse.internal/turn"
)

// turndUDP is our own server, which lends UDP ports only.
func turndUDP(t *testing.T, change func(*turn.Config)) *turn.Server {
	t.Helper()
	return startTurnd(t, func(cfg *turn.Config) {
		cfg.NoTCPRelays, cfg.OwnRelays = true, true
		change(cfg)
	})
}

// nothingDirect leaves nothing in an offer but UDP through relays; other UDP leads to a port where nobody answers.
func nothingDirect(o Offer) Offer {
	o = onlyRelays(o)
	o.Relays = nil
	return o
}

// onlyRelays is nothingDirect that leaves TCP through relays too.
func onlyRelays(o Offer) Offer {
	var keep []Candidate
	for _, c := range o.Candidates {
		if c.TCP {
			continue
		}
		if c.Type != TypeRelay {
			c.Addr = netip.AddrPortFrom(c.Addr.Addr(), 9)
		}
		keep = append(keep, c)
	}
	o.Candidates = keep
	return o
}

// A relay that lends no TCP ports is the last rung over UDP, in both families, whoever has it, and with relay-only.
func TestRelayWithoutTCP(t *testing.T) {
	needIPv6(t)
	server := turndUDP(t, func(*turn.Config) {})
	relayedOverUDP(t, server.TCPAddrs()[0].String(), lo4, lo6)
	eventually(t, "allocations to be given back", func() bool {
		n := 0
		for _, c := range server.Stats().Allocations {
			n += c.Count
		}
		return n == 0
	}, func() string { return "" })
}

func TestCoturnWithoutTCP(t *testing.T) {
	loopback.NeedIPv6(t)
	port := loopback.Coturn{Args: []string{"--no-tcp-relay"}}.Start(t)
	relayedOverUDP(t, netip.AddrPortFrom(lo4, port).String(), lo4, lo6)
}

// relayedOverUDP runs every path over UDP through a relay that knows the user u with password p and lends no TCP ports.
func relayedOverUDP(t *testing.T, server string, families ...netip.Addr) {
	t.Helper()
	relay := []Relay{{Server: server, Username: "u", Password: "p"}}
	for _, addr := range families {
		for _, c := range []struct {
			name           string
			caller, callee Config
		}{
			{"relay of the caller", Config{Policy: RelayOnly, Relays: relay}, Config{}},
			{"relay of the callee", Config{}, Config{Policy: RelayOnly, Relays: relay}},
			{"both relay-only", Config{Policy: RelayOnly, Relays: relay}, Config{Policy: RelayOnly, Relays: relay}},
		} {
			t.Run(c.name+" at "+addr.String(), func(t *testing.T) {
				noGoroutines(t)
				c.caller.Addrs, c.callee.Addrs = []netip.Addr{addr}, []netip.Addr{addr}
				b := mustConnectUDP(t, listenTest(t, c.caller), listenTest(t, c.callee), unchanged)
				wantRelayUDP(t, b, reason.RelayPolicy)
				speakSlowly(t, b.offerer.Pair, b.answerer.Pair)
				speakSlowly(t, b.answerer.Pair, b.offerer.Pair)
				b.close()
			})
		}
	}
	t.Run("nothing else leads anywhere", func(t *testing.T) {
		noGoroutines(t)
		caller, callee := listenTest(t, Config{Relays: relay}), listenTest(t, Config{Relays: relay})
		b := mustConnectUDP(t, caller, callee, nothingDirect)
		for _, p := range []*Path{b.offerer, b.answerer} {
			if p.Pair == nil || p.Route.Kind != Relayed || p.Route.Via != "relay/udp" {
				t.Fatalf("path %+v, want relay/udp", p.Route)
			}
		}
		speakSlowly(t, b.offerer.Pair, b.answerer.Pair)
		b.close()
	})
	t.Run("direct goes before", func(t *testing.T) {
		noGoroutines(t)
		caller, callee := listenTest(t, Config{Relays: relay}), listenTest(t, Config{Relays: relay})
		for _, change := range []func(Offer) Offer{unchanged, tcpFiltered} {
			b := mustConnectUDP(t, caller, callee, change)
			if b.offerer.Route.Kind != Direct {
				t.Errorf("path %+v, want a direct one", b.offerer.Route)
			}
			b.close()
		}
	})
}

func mustConnectUDP(t *testing.T, caller, callee *Endpoint, change func(Offer) Offer) both {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	began := time.Now()
	b := connectUDP(ctx, caller, callee, change)
	if err := errors.Join(b.offererErr, b.answererErr); err != nil {
		t.Fatalf("no path: %v", err)
	}
	t.Cleanup(b.close)
	t.Logf("%v, %+v", time.Since(began), b.offerer.Route)
	return b
}

func wantRelayUDP(t *testing.T, b both, why reason.Code) {
	t.Helper()
	for _, p := range []*Path{b.offerer, b.answerer} {
		if p.Pair == nil || p.Route.Kind != Relayed || p.Route.Via != "relay/udp" || p.Route.Reason != why || !p.Route.Relay.IsValid() {
			t.Fatalf("path %+v, want relay/udp %s", p.Route, why)
		}
	}
}

// A relay that lends TCP ports is not asked for UDP ones, and goes before one that has only those.
func TestTCPRelaysGoBeforeUDPOnes(t *testing.T) {
	noGoroutines(t)
	with := turndUDP(t, func(c *turn.Config) { c.NoTCPRelays = false })
	without := turndUDP(t, func(*turn.Config) {})
	caller := listenTest(t, Config{Relays: []Relay{{Server: with.TCPAddrs()[0].String(), Username: "u", Password: "p"}}})
	callee := listenTest(t, Config{Relays: []Relay{{Server: without.TCPAddrs()[0].String(), Username: "u", Password: "p"}}})
	var lent []int // UDP ports in either offer
	b := mustConnectUDP(t, caller, callee, func(o Offer) Offer {
		n := 0
		for _, c := range o.Candidates {
			if !c.TCP && c.Type == TypeRelay {
				n++
			}
		}
		lent = append(lent, n)
		return onlyRelays(o)
	})
	if b.offerer.Conn == nil || b.offerer.Route.Via != "relay/tcp" {
		t.Errorf("path %+v, want relay/tcp", b.offerer.Route)
	}
	if lent[0] != 0 || lent[1] != 2 {
		t.Errorf("%d UDP ports offered, want none from who has TCP ones, and one of each family from who has not", lent)
	}
	b.close()
}

// Who is called by a device that offers no TCP asks for a UDP port, whatever the relay lends.
func TestPeerWithoutTCP(t *testing.T) {
	noGoroutines(t)
	server := turndUDP(t, func(c *turn.Config) { c.NoTCPRelays = false })
	relay := []Relay{{Server: server.TCPAddrs()[0].String(), Username: "u", Password: "p"}}
	b := mustConnectUDP(t, listenTest(t, Config{}), listenTest(t, Config{Relays: relay}), nothingDirect)
	if b.offerer.Pair == nil || b.offerer.Route.Via != "relay/udp" {
		t.Fatalf("path %+v, want relay/udp", b.offerer.Route)
	}
	speakSlowly(t, b.offerer.Pair, b.answerer.Pair)
}

// A relay that can be reached over UDP only is asked over UDP.
func TestRelayOverUDP(t *testing.T) {
	noGoroutines(t)
	server := turndUDP(t, func(c *turn.Config) {
		c.ListenTCP, c.ListenUDP = nil, []netip.AddrPort{netip.AddrPortFrom(lo4, 0)}
	})
	relay := []Relay{{Server: server.UDPAddrs()[0].String(), Username: "u", Password: "p"}}
	b := mustConnectUDP(t, listenTest(t, Config{Policy: RelayOnly, Relays: relay}), listenTest(t, Config{}), unchanged)
	wantRelayUDP(t, b, reason.RelayPolicy)
	speakSlowly(t, b.offerer.Pair, b.answerer.Pair)
}

// pion/turn lends a UDP port to who asks for a TCP one. Nothing shows it but that no path comes of it; the next attempt asks for both.
func TestRelayThatLies(t *testing.T) {
	noGoroutines(t)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := &pionturn.RelayAddressGeneratorStatic{RelayAddress: net.IPv4(127, 0, 0, 1), Address: "127.0.0.1"}
	server, err := pionturn.NewServer(pionturn.ServerConfig{
		Realm: "r",
		AuthHandler: func(user, realm string, _ net.Addr) ([]byte, bool) {
			return pionturn.GenerateAuthKey(user, realm, "p"), user == "u"
		},
		ListenerConfigs: []pionturn.ListenerConfig{{Listener: ln, RelayAddressGenerator: at}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	cfg := Config{Relays: []Relay{{Server: ln.Addr().String(), Username: "u", Password: "p"}}, NegotiateTimeout: 3 * time.Second}
	caller, callee := listenTest(t, cfg), listenTest(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if b := connectUDP(ctx, caller, callee, onlyRelays); b.offererErr == nil {
		t.Fatalf("a path at the first try: %+v", b.offerer.Route)
	}
	b := mustConnectUDP(t, caller, callee, onlyRelays)
	if b.offerer.Pair == nil || b.offerer.Route.Via != "relay/udp" {
		t.Fatalf("path %+v, want relay/udp", b.offerer.Route)
	}
	speakSlowly(t, b.offerer.Pair, b.answerer.Pair)
}

// The pair ends with its allocation, at once.
func TestPairEndsWithItsRelay(t *testing.T) {
	noGoroutines(t)
	server := turndUDP(t, func(*turn.Config) {})
	relay := []Relay{{Server: server.TCPAddrs()[0].String(), Username: "u", Password: "p"}}
	b := mustConnectUDP(t, listenTest(t, Config{Policy: RelayOnly, Relays: relay}), listenTest(t, Config{}), unchanged)
	lender := b.offerer.Pair.way.lent.datagramLender.(*turnclient.UDPAllocation)
	eventually(t, "a channel", func() bool { return len(lender.Bound()) == 1 }, func() string { return "" })
	_ = lender.Close()
	if err := b.offerer.Pair.Receive(func([]byte) {}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Receive = %v, want the relay's end", err)
	}
	<-b.offerer.Done()
}

// Whatever comes to a relayed address from elsewhere reaches nobody.
func TestStrangersAtARelayedAddress(t *testing.T) {
	noGoroutines(t)
	server := turndUDP(t, func(*turn.Config) {})
	relay := []Relay{{Server: server.TCPAddrs()[0].String(), Username: "u", Password: "p"}}
	caller := listenTest(t, Config{Policy: RelayOnly, Relays: relay})
	b := mustConnectUDP(t, caller, listenTest(t, Config{}), unchanged)
	stranger, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(b.offerer.Route.Relay))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	tag := b.offerer.Pair.u.tagIn
	for _, p := range [][]byte{
		{byte(tag >> 24), byte(tag >> 16), byte(tag >> 8), byte(tag), 22, 0xfe, 0xfd}, {1}, {0, 1, 0, 0, 0, 0}, make([]byte, 2500),
	} {
		if _, err := stranger.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "three stray datagrams", func() bool { return caller.Stats().UDPStray >= 3 }, func() string { return "" })
	speakSlowly(t, b.answerer.Pair, b.offerer.Pair)
}

// speakSlowly sends packets of two lengths, each when the one before has come: coturn drops some of a burst.
func speakSlowly(t *testing.T, from, to *Pair) {
	t.Helper()
	_ = to.SetReadDeadline(time.Now().Add(10 * time.Second))
	defer func() { _ = to.SetReadDeadline(time.Time{}) }()
	for i := range 20 {
		want := bytes.Repeat([]byte{byte(i)}, 1000+i%2*200)
		if tooBig, err := from.Send([][]byte{want}); tooBig || err != nil {
			t.Fatalf("Send = %v, %v", tooBig, err)
		}
		for came := false; !came; {
			if err := to.Receive(func(b []byte) {
				if came = true; !bytes.Equal(b, want) {
					t.Fatalf("packet %d differs", i)
				}
			}); err != nil {
				t.Fatalf("packet %d: %v", i, err)
			}
		}
	}
}
