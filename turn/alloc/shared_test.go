package alloc

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

var sharedAt = netip.MustParseAddrPort("192.0.2.1:50000")

func shareTable(limits Limits) (*Table, *Peers) { return NewTable(limits, begin), NewPeers() }

func sharing(t testing.TB, table *Table, s *Peers, now time.Time, name string) *Allocation {
	t.Helper()
	a, verdict := table.Insert(now, New{Tuple: tupleOf(name), User: name, Relayed: sharedAt, Lifetime: 3600, Shared: [2]*Peers{s}})
	if verdict != OK {
		t.Fatal(verdict)
	}
	return a
}

// Who claims a peer first has it until the permission ends, and with it goes a channel that would be answered to another.
func TestClaims(t *testing.T) {
	table, s := shareTable(Limits{})
	a, b := sharing(t, table, s, begin, "a"), sharing(t, table, s, begin, "b")
	peer, other := netip.MustParseAddrPort("198.51.100.1:1"), netip.MustParseAddrPort("198.51.100.1:2")
	owner := func(now time.Time, from netip.AddrPort, want *Allocation, unclear bool) {
		t.Helper()
		if got, ambiguous := s.Owner(now, from); got != want || ambiguous != unclear {
			t.Errorf("%v is for %p, ambiguous %v, want %p, %v", from, got, ambiguous, want, unclear)
		}
	}
	owner(begin, peer, nil, false)
	if got := table.BindChannel(begin, a, MinChannel, peer); got != OK {
		t.Fatal(got)
	}
	owner(begin, peer, a, false)
	owner(begin, other, a, false) // a permission is for every port
	table.Permit(begin, b, []netip.Addr{peer.Addr()})
	owner(begin, peer, a, false)
	owner(begin, other, nil, true)
	if table.Claim(begin, b, peer) || !table.Taken(begin, b, peer) || table.Taken(begin, a, peer) {
		t.Error("b has a's peer")
	}
	if got := table.BindChannel(begin, b, MinChannel, peer); got != InsufficientCapacity || len(b.byNumber) != 0 {
		t.Errorf("a channel to another's peer: %v", got)
	}
	if !table.Claim(begin, b, other) {
		t.Error("b cannot have what nobody has")
	}
	owner(begin, other, b, false)

	late := begin.Add(PermissionLifetime)
	owner(late, peer, nil, false)
	table.Permit(late, b, []netip.Addr{peer.Addr()})
	owner(late, peer, b, false)
	if !table.Claim(late, b, peer) {
		t.Error("a's permission has ended")
	}
	table.Permit(late, a, []netip.Addr{peer.Addr()})
	if _, bound, _ := a.Uplink(late, MinChannel); bound {
		t.Error("a's channel leads to b's peer")
	}
	owner(late, peer, b, false)
	table.Remove(b)
	owner(late, peer, a, false)
	table.Remove(a)
	if len(s.claims)+len(s.hosts) != 0 {
		t.Errorf("left: %v %v", s.claims, s.hosts)
	}
}

// The claims of one allocation are bounded, and its channels have room beside what it sends to.
func TestClaimsAreBounded(t *testing.T) {
	table, s := shareTable(Limits{Permissions: 3, Channels: 2})
	a := sharing(t, table, s, begin, "a")
	ip := netip.MustParseAddr("198.51.100.1")
	table.Permit(begin, a, []netip.Addr{ip})
	for port := range uint16(4) {
		if got := table.Claim(begin, a, netip.AddrPortFrom(ip, port)); got != (port < 3) {
			t.Errorf("claim %d: %v", port, got)
		}
	}
	for i := range uint16(3) {
		if got := table.BindChannel(begin, a, MinChannel+i, netip.AddrPortFrom(ip, 100+i)); (got == OK) != (i < 2) {
			t.Errorf("channel %d: %v", i, got)
		}
	}
	if a.claimed != 5 || len(s.claims) != 5 {
		t.Errorf("%d claims, %d in all", a.claimed, len(s.claims))
	}
}

// Random calls against an oracle that knows permissions' ends and who claimed what, and looks through all of them.
func TestSharedModel(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 2))
		limits := Limits{Permissions: 100, Channels: 100}
		table, s := shareTable(limits)
		now := begin
		names := []string{"a", "b", "c", "d"}
		of := map[string]*Allocation{}
		ends := map[string]map[netip.Addr]time.Time{}
		claims := map[netip.AddrPort]string{}
		permitted := func(name string, ip netip.Addr) bool { return name != "" && now.Before(ends[name][ip]) }
		forget := func(name string) {
			for peer, who := range claims {
				if who == name {
					delete(claims, peer)
				}
			}
			delete(of, name)
			delete(ends, name)
		}
		for step := range 500 {
			name := names[random.IntN(len(names))]
			a := of[name]
			ip := modelPeer(random.IntN(3))
			peer := netip.AddrPortFrom(ip, uint16(1+random.IntN(3)))
			if a == nil {
				of[name], ends[name] = sharing(t, table, s, now, name), map[netip.Addr]time.Time{}
				continue
			}
			free := claims[peer] == name || !permitted(claims[peer], ip)
			switch random.IntN(7) {
			case 0:
				now = now.Add(time.Duration(random.IntN(200)) * time.Second)
			case 1, 2:
				table.Permit(now, a, []netip.Addr{ip})
				ends[name][ip] = now.Add(PermissionLifetime)
			case 3, 4:
				if !permitted(name, ip) { // as callers see to
					break
				}
				if got := table.Claim(now, a, peer); got != free {
					t.Fatalf("%d.%d: %s claims %v: %v, want %v", seed, step, name, peer, got, free)
				}
				if free {
					claims[peer] = name
				}
			case 5:
				number := MinChannel + uint16(peer.Port()) + 16*uint16(ip.As16()[15])
				if got := table.BindChannel(now, a, number, peer); (got == OK) != free {
					t.Fatalf("%d.%d: %s binds %v: %v, free %v", seed, step, name, peer, got, free)
				}
				if free {
					claims[peer], ends[name][ip] = name, now.Add(PermissionLifetime)
				}
			case 6:
				if random.IntN(4) == 0 {
					table.Remove(a)
					forget(name)
				} else {
					table.Revoke(a, func(other netip.Addr) bool { return other == ip }, func(netip.AddrPort) bool { return false })
					delete(ends[name], ip)
					for peer, who := range claims {
						if who == name && peer.Addr() == ip {
							delete(claims, peer)
						}
					}
				}
			}
			for _, ended := range table.Expire(now).Allocations {
				forget(ended.User)
			}
			for i := range 3 {
				for port := range uint16(5) {
					from := netip.AddrPortFrom(modelPeer(i), port)
					want, n := claims[from], 0
					if !permitted(want, from.Addr()) {
						want = ""
						for _, name := range names {
							if permitted(name, from.Addr()) {
								want = name
								n++
							}
						}
						if n > 1 {
							want = ""
						}
					}
					got, ambiguous := s.Owner(now, from)
					if got != of[want] || ambiguous != (n > 1) {
						t.Fatalf("%d.%d: %v is for %v, ambiguous %v, want %q, of %d", seed, step, from, got, ambiguous, want, n)
					}
				}
			}
		}
		for _, a := range of {
			table.Remove(a)
		}
		if len(s.claims)+len(s.hosts) != 0 {
			t.Fatal(fmt.Sprint("left: ", s.claims, s.hosts))
		}
	}
}
