package turn

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"traverse.internal/core/stun"
)

// The classes of attack that a TURN server meets, and the test of each, are a table in docs/protocol/turn.md. Here are those
// that belong to no single part.

// Two relays whose channels point at each other, and at each other's listeners, pass on what their clients send and nothing
// by themselves: what one sends comes once, and counts stand still after it.
func TestRelaysAimedAtEachOther(t *testing.T) {
	one, two := startServer(t, nil), startServer(t, nil)
	a, b := dialUDP(t, one), dialUDP(t, two)
	relayedA, relayedB := a.allocate(), b.allocate()
	for _, c := range []struct {
		client *testClient
		peers  []netip.AddrPort
	}{{a, []netip.AddrPort{relayedB, two.UDPAddrs()[0]}}, {b, []netip.AddrPort{relayedA, one.UDPAddrs()[0]}}} {
		for i, peer := range c.peers {
			if code := c.client.code(stun.MethodChannelBind, channel(0x4000+uint16(i)), peerAt(peer)); code != 0 {
				t.Fatalf("channel to %v: %v", peer, code)
			}
		}
	}
	answer := stun.New(nil, stun.MethodBinding.Success(), stun.NewTransactionID())
	answer.AddXORAddr(stun.AttrXORMappedAddress, relayedB)
	failure := stun.New(nil, stun.MethodAllocate.Error(), stun.NewTransactionID())
	failure.AddError(stun.CodeUnauthenticated, "")
	for _, silentTo := range [][]byte{
		answer.Bytes(), failure.Bytes(), channelData(0x4000, []byte("loop")), sendIndication([]byte("loop"), peerAt(relayedB)), []byte("garbage"),
	} {
		a.send(channelData(0x4001, silentTo)) // to the other's listener
	}
	a.send(channelData(0x4000, []byte("once")))
	if number, data, err := stun.ParseChannelData(b.frame()); err != nil || number != 0x4000 || string(data) != "once" {
		t.Fatalf("got %#x %q, %v", number, data, err)
	}
	b.silent()
	a.silent()
	moved := func(s *Server) (n uint64) {
		for _, r := range s.Stats().Relayed {
			n += r.Packets
		}
		return n
	}
	if n, m := moved(one), moved(two); n != 6 || m != 1 {
		t.Errorf("%d and %d packets relayed, want 6 and 1", n, m)
	}
}

// RFC 8656 §21.4: nobody is served at an address of 6to4 or Teredo, which is as good as any IPv4 address behind it.
func TestTransitionClientsAreRefused(t *testing.T) {
	for text, want := range map[string]bool{
		"2002:808:808::1": true, "2002::": true, "2001::1": true, "2001:0:808:808::1": true,
		"2001:1::1": false, "2001:db8::1": false, "2606:4700::1": false, "192.88.99.1": false,
	} {
		if got := transition(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// Whatever form of IPv6 an IPv4 address takes, it is denied when it is denied: special, by rule, or our own.
func TestDisguisesChangeNothing(t *testing.T) {
	p, err := newPolicy(Config{DenyPeers: prefixes("8.8.0.0/16"), AllowPeers: prefixes("10.9.0.0/16")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	forms := map[string]func(v [4]byte, junk uint64) [16]byte{
		"mapped":     func(v [4]byte, _ uint64) [16]byte { return [16]byte{10: 0xff, 11: 0xff, 12: v[0], v[1], v[2], v[3]} },
		"compatible": func(v [4]byte, _ uint64) [16]byte { return [16]byte{12: v[0], v[1], v[2], v[3]} },
		"translated": func(v [4]byte, _ uint64) [16]byte { return [16]byte{8: 0xff, 9: 0xff, 12: v[0], v[1], v[2], v[3]} },
		"nat64": func(v [4]byte, _ uint64) [16]byte {
			return [16]byte{0, 0x64, 0xff, 0x9b, 12: v[0], v[1], v[2], v[3]}
		},
		"nat64 local": func(v [4]byte, _ uint64) [16]byte {
			return [16]byte{0, 0x64, 0xff, 0x9b, 0, 1, v[0], v[1], 0, v[2], v[3]}
		},
		"6to4": func(v [4]byte, junk uint64) [16]byte {
			return [16]byte{0x20, 2, v[0], v[1], v[2], v[3], byte(junk), 15: byte(junk >> 8)}
		},
		"teredo server": func(v [4]byte, junk uint64) [16]byte {
			return [16]byte{0x20, 1, 0, 0, v[0], v[1], v[2], v[3], byte(junk), 15: byte(junk >> 8)}
		},
		"teredo client": func(v [4]byte, _ uint64) [16]byte {
			return [16]byte{0x20, 1, 0, 0, 8, 8, 4, 4, 12: ^v[0], ^v[1], ^v[2], ^v[3]}
		},
		"isatap": func(v [4]byte, junk uint64) [16]byte {
			return [16]byte{0x26, 6, 0x47, byte(junk), 8: byte(junk>>8) & 3, 0, 0x5e, 0xfe, v[0], v[1], v[2], v[3]}
		},
	}
	random := rand.New(rand.NewPCG(1, 2))
	denied := 0
	for range 20_000 {
		v := [4]byte{byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())}
		switch random.IntN(4) {
		case 0:
			v[0], v[1] = 8, 8
		case 1: // somewhere within a special network
			list := special
			prefix := list[random.IntN(18)].Addr().As4()
			v[0], v[1] = prefix[0], prefix[1]
		}
		plain := netip.AddrFrom4(v)
		if p.address(plain) == Allowed {
			continue
		}
		denied++
		for name, form := range forms {
			if ip := netip.AddrFrom16(form(v, random.Uint64())); p.address(ip) == Allowed {
				t.Fatalf("%v is denied and %v, %s, is not", plain, ip, name)
			}
		}
	}
	if denied < 5000 {
		t.Errorf("only %d addresses were denied", denied)
	}
}

// With everything allowed by name, metadata services, listeners and the administration are still nobody's peers.
func TestAllowingEverythingSparesTheAdministration(t *testing.T) {
	admin := netip.MustParseAddrPort("127.0.0.1:9478")
	p, err := newPolicy(Config{
		AllowPeers: prefixes("0.0.0.0/0", "::/0"), RelayIP4: loop4, DenyEndpoints: []netip.AddrPort{admin, netip.MustParseAddrPort("[::]:8480")},
	}, []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:3478")})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"127.0.0.1:9478", "127.0.0.1:3478", "127.0.0.1:8480", "169.254.169.254:80", "[::ffff:169.254.169.254]:80", "[2002:a9fe:a9fe::]:80",
		"[fd00:ec2::254]:80", "168.63.129.16:80", "127.0.0.1:0", "0.0.0.0:80", "[::]:80",
	} {
		if p.endpoint(netip.MustParseAddrPort(text), func(netip.AddrPort) bool { return false }) == Allowed {
			t.Errorf("%s may be a peer", text)
		}
	}
	if got := p.endpoint(netip.MustParseAddrPort("127.0.0.1:9479"), func(netip.AddrPort) bool { return false }); got != Allowed {
		t.Errorf("a port beside: %v", got)
	}
}

// Allocations that are created, used and dropped, over UDP and TCP, leave neither descriptors nor memory nor accounts.
func TestSoakIsFlat(t *testing.T) {
	s := startServer(t, nil)
	peer := newPeer(t, loop4)
	round := func(n int) {
		for i := range n {
			dial := dialUDP
			if i%2 == 1 {
				dial = dialTCP
			}
			c := dial(t, s)
			relayed := c.allocate()
			if code := c.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); code != 0 {
				t.Fatalf("channel: %v", code)
			}
			c.send(channelData(0x4000, []byte("there")))
			peer.receive()
			peer.send(relayed, []byte("back"))
			c.frame()
			if i%3 > 0 || !c.stream { // some just hang up
				c.code(stun.MethodRefresh, lifetime(0))
			}
			c.conn.Close()
		}
		waitFor(t, "the end of all allocations", func() bool { return count(s) == 0 && s.Stats().Streams == 0 })
	}
	measure := func() (descriptors int, heap uint64) {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skipf("descriptors cannot be counted: %v", err)
		}
		runtime.GC()
		runtime.GC() // pools are emptied by the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return len(list), m.HeapAlloc
	}
	round(200)
	descriptors, heap := measure()
	goroutines := runtime.NumGoroutine()
	round(1000)
	waitFor(t, "the end of goroutines", func() bool { return runtime.NumGoroutine() <= goroutines+2 })
	after, heapAfter := measure()
	if after > descriptors+4 || heapAfter > heap+1<<20 {
		t.Errorf("%d descriptors and %d bytes, %d and %d before: %s", after, heapAfter, descriptors, heap, fmt.Sprint(s.Stats().Drops))
	}
	for family := range s.ports {
		for protocol := range s.ports[family] {
			if used := s.ports[family][protocol].free.Used(); used != 0 {
				t.Errorf("%d ports are left", used)
			}
		}
	}
}
