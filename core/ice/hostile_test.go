package ice

import (
	"net"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"
)

// TestWhatIsDialled: which of the addresses that a peer names are tried. A contact can make us open a TCP connection to what it likes on
// the networks we are on, and send a Binding request there; not to ourselves, nor to what answers on the link alone (the metadata service of a cloud).
func TestWhatIsDialled(t *testing.T) {
	for _, c := range []struct {
		addr string
		want bool
	}{
		{"192.168.1.7:22", true}, // a device on the LAN looks no different
		{"203.0.113.9:443", true},
		{"[2001:db8::7]:443", true},
		{"127.0.0.1:80", false},
		{"127.8.8.8:80", false},
		{"[::1]:80", false},
		{"169.254.169.254:80", false},
		{"[fe80::7]:80", false},
	} {
		e := &Endpoint{cfg: Config{}.withDefaults()}
		at := newAttempt(e)
		addr := netip.MustParseAddrPort(c.addr)
		for name, o := range map[string]Offer{
			"candidate": {Candidates: []Candidate{{Component: 1, TCP: true, Addr: addr, Type: TypeHost, TCPType: "passive"}}},
			"relay":     {Relays: []netip.AddrPort{addr}},
		} {
			if got := len(at.targets(&o)) == 1; got != c.want {
				t.Errorf("%s %s dialled: %v, want %v", name, c.addr, got, c.want)
			}
		}
		at.cancel()
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
