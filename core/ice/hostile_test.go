package ice

import (
	"net"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"
)

// TestWhatIsDialled: which of the addresses that a peer names are tried. A contact can make us open a TCP connection to a port of a device's own kind on
// the networks we are on, and send a Binding request there; not to ourselves, nor to what answers on the link alone (the metadata service of a cloud),
// nor to the services of our networks, the router's own page among them.
func TestWhatIsDialled(t *testing.T) {
	for _, c := range []struct {
		addr      string
		candidate bool
		relay     bool
	}{
		{"192.168.1.7:41000", true, true},
		{"192.168.1.7:22", false, false},
		{"192.168.1.1:80", false, false},
		{"10.0.0.7:443", false, false},
		{"[fd00::7]:631", false, false},
		{"203.0.113.9:443", true, false}, // a device may listen there, a relay lends no such port
		{"203.0.113.9:41000", true, true},
		{"[2001:db8::7]:443", true, false},
		{"198.51.100.1:443", false, false}, // our own NAT
		{"198.51.100.1:41000", true, true}, // another device behind it
		{"192.168.1.5:41000", false, true}, // ourselves: a service, or our own relay
		{"[2001:db8::5]:41000", false, true},
		{"127.0.0.1:8080", false, false},
		{"127.8.8.8:8080", false, false},
		{"[::1]:8080", false, false},
		{"169.254.169.254:8080", false, false},
		{"[fe80::7]:8080", false, false},
	} {
		e := &Endpoint{cfg: Config{
			Mapped: func() (netip.AddrPort, Mapping) { return netip.MustParseAddrPort("198.51.100.1:40000"), MapPCP },
		}.withDefaults()}
		at := newAttempt(e, Auto)
		at.hosts = []netip.AddrPort{netip.MustParseAddrPort("192.168.1.5:40000"), netip.MustParseAddrPort("[2001:db8::5]:40000")}
		addr := netip.MustParseAddrPort(c.addr)
		for name, way := range map[string]struct {
			offer Offer
			want  bool
		}{
			"candidate": {Offer{Candidates: []Candidate{{Component: 1, TCP: true, Addr: addr, Type: TypeHost, TCPType: "passive"}}}, c.candidate},
			"relay":     {Offer{Relays: []netip.AddrPort{addr}}, c.relay},
		} {
			if got := len(at.targets(&way.offer)) == 1; got != way.want {
				t.Errorf("%s %s dialled: %v, want %v", name, c.addr, got, way.want)
			}
		}
		at.cancel()
	}
}

// TestTenThousandCandidates: what a peer offers beyond the limits is neither dialled nor kept.
func TestTenThousandCandidates(t *testing.T) {
	o := Offer{Ufrag: "abcd", Password: "0123456789012345678901"}
	for i := range 10_000 {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 41000)
		o.Candidates = append(o.Candidates, Candidate{
			Foundation: "x", Component: 1, TCP: true, Priority: uint32(i), Addr: at, Type: CandidateType(i % 3), TCPType: "so",
		})
		o.Relays, o.Sources = append(o.Relays, at), append(o.Sources, at.Addr())
	}
	at := newAttempt(&Endpoint{cfg: Config{}.withDefaults()}, Auto)
	defer at.cancel()
	if err := at.begin(&o); err != nil {
		t.Fatal(err)
	}
	theirs := at.theirs()
	if got, most := len(at.targets(&theirs)), MaxHosts+MaxReflexive+MaxRelays; got != most {
		t.Errorf("%d addresses are dialled, want %d", got, most)
	}
	if got, most := len(theirs.permits(false)), MaxHosts+MaxReflexive+MaxRelays+MaxSources; got > most {
		t.Errorf("%d addresses are permitted, at most %d are wanted", got, most)
	}
}

// TestWhatIsPermitted: which of the addresses that a peer names our relay is asked to let in. A relay that is careless about peers would be led to
// itself, or to what answers on its link alone.
func TestWhatIsPermitted(t *testing.T) {
	var o Offer
	for _, a := range []string{"127.0.0.1", "::1", "169.254.169.254", "fe80::1", "192.168.1.7", "2001:db8::7"} {
		o.Sources = append(o.Sources, netip.MustParseAddr(a))
	}
	if got := o.permits(false); len(got) != 2 || got[0] != o.Sources[4] || got[1] != o.Sources[5] {
		t.Errorf("permitted %v, want the last two of %v", got, o.Sources)
	}
	if got := o.permits(true); len(got) != 4 {
		t.Errorf("with loopback: permitted %v, want all but the link-local ones of %v", got, o.Sources)
	}
}

// TestConnectionsComeAndGo: who knows the password cannot make the agent learn of address after address by connections that it ends at once.
func TestConnectionsComeAndGo(t *testing.T) {
	noGoroutines(t)
	e := listenTest(t, Config{NegotiateTimeout: 2 * time.Minute})
	at := gatherTest(t, e)
	var negotiating sync.WaitGroup
	negotiating.Go(func() {
		_, _ = at.Negotiate(t.Context(), Answerer, Offer{Ufrag: "xxxx", Password: "0123456789012345678901"})
	})
	frame := binding(at.ufrag+":xxxx", at.password)
	taken := func() int {
		at.mu.Lock()
		defer at.mu.Unlock()
		return at.taken
	}
	open := func() int {
		at.mu.Lock()
		defer at.mu.Unlock()
		return len(at.streams)
	}
	const batch = 16 // well within what one attempt may have open
	for round := range maxTaken/batch + 1 {
		var conns []net.Conn
		for range batch {
			conn := dialTest(t, e)
			if _, err := conn.Write(frame); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		want := min((round+1)*batch, maxTaken)
		eventually(t, "the batch to be taken", func() bool { return taken() >= want }, func() string { return strconv.Itoa(taken()) })
		for _, conn := range conns {
			conn.Close()
		}
		// Those of one batch must not keep the next one's out.
		eventually(t, "room for the next batch", func() bool { return open() <= maxStreams-batch || taken() == maxTaken }, func() string { return strconv.Itoa(open()) })
	}
	if n := taken(); n != maxTaken {
		t.Errorf("%d connections were taken, want %d", n, maxTaken)
	}
	at.Close()
	negotiating.Wait()
}
