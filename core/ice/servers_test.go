package ice

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
)

// Attempts that begin after SetServers ask the new relays, over TCP for allocations and over UDP for reflexive addresses.
func TestSetServers(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]string{}
	e, err := Listen(Config{
		Loopback: true, Addrs: []netip.Addr{lo4}, TCPOnly: true, Relays: []Relay{{Server: "192.0.2.1:1", Username: "u", Password: "p"}},
		allocate: func(_ context.Context, r Relay, _ bool) (lender, error) {
			mu.Lock()
			defer mu.Unlock()
			asked[r.Server] = r.Password
			return nil, errors.New("away")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	gather := func() {
		t.Helper()
		a, err := e.Gather(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		a.Close()
	}
	gather()
	if len(asked) != 1 || asked["192.0.2.1:1"] != "p" {
		t.Errorf("asked %v", asked)
	}
	clear(asked)
	relays := []Relay{{Server: "192.0.2.2:2", Username: "u", Password: "q"}}
	if err := CheckRelays(relays); err != nil {
		t.Fatal(err)
	}
	e.SetServers(relays, nil)
	relays[0].Server = "changed afterwards"
	gather()
	if len(asked) != 1 || asked["192.0.2.2:2"] != "q" {
		t.Errorf("after SetServers asked %v", asked)
	}
	if s := e.servers.Load().stun; !slices.Equal(s, []string{"192.0.2.2:2"}) {
		t.Errorf("STUN servers are %v", s)
	}
	e.SetServers(relays, []string{"192.0.2.3:3"})
	if s := e.servers.Load().stun; !slices.Equal(s, []string{"192.0.2.3:3"}) {
		t.Errorf("STUN servers are %v, want those that were named", s)
	}
	for _, wrong := range [][]Relay{{{Server: "no port", Username: "u"}}, {{Server: "192.0.2.1:1"}}, make([]Relay, maxServers+1)} {
		if CheckRelays(wrong) == nil {
			t.Errorf("%v was taken", wrong)
		}
	}
}
