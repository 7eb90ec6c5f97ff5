package ice

import (
	"net/netip"
	"sync"
	"testing"
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

// TestConnectionsComeAndGo: who knows the password cannot make the agent learn of address after address by connections that it ends at once.
func TestConnectionsComeAndGo(t *testing.T) {
	noGoroutines(t)
	e := listenTest(t, Config{})
	at := gatherTest(t, e)
	var negotiating sync.WaitGroup
	negotiating.Go(func() {
		_, _ = at.Negotiate(t.Context(), Answerer, Offer{Ufrag: "xxxx", Password: "0123456789012345678901"})
	})
	frame := binding(at.ufrag+":xxxx", at.password)
	for range maxTaken + 10 {
		conn := dialTest(t, e)
		if _, err := conn.Write(frame); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil { // it is refused; else there is an answer, or the agent's own check
			break
		}
		conn.Close()
	}
	at.mu.Lock()
	taken := at.taken
	at.mu.Unlock()
	if taken != maxTaken {
		t.Errorf("%d connections were taken one after the other, want %d", taken, maxTaken)
	}
	at.Close()
	negotiating.Wait()
}
