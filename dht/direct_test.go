package dht

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// tapSocket is a UDP socket that shows what is sent and can lose it.
type tapSocket struct {
	socket

	mu   sync.Mutex
	lose int // so many direct datagrams are lost first
	sent [][]byte
	to   []netip.AddrPort
}

func (s *tapSocket) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if b[0] == directMagic {
		s.mu.Lock()
		s.sent, s.to = append(s.sent, append([]byte{}, b...)), append(s.to, to)
		lost := len(s.sent) <= s.lose
		s.mu.Unlock()
		if lost {
			return len(b), nil
		}
	}
	return s.socket.WriteToUDPAddrPort(b, to)
}

// direct returns the direct datagrams of a type that were sent.
func (s *tapSocket) direct(kind directType) (out [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.sent {
		if directType(b[2]) == kind {
			out = append(out, b)
		}
	}
	return out
}

// tapped starts a private node whose direct datagrams can be seen.
func tapped(t *testing.T, lose int, bootstrap ...string) (*Node, *tapSocket) {
	t.Helper()
	tap := &tapSocket{lose: lose}
	n, err := Listen(Config{Mode: Private, Listen: loopback, Bootstrap: bootstrap, open: func(a netip.AddrPort) (s socket, err error) {
		tap.socket, err = openUDP(a)
		return tap, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	closeWith(t, n)
	return n, tap
}

func TestDirectRequestsAreSentAgainUntilAnswered(t *testing.T) {
	for _, c := range []struct {
		name                string
		loseAsked, loseBack int
		atLeast             time.Duration
	}{
		{"nothing lost", 0, 0, 0},
		{"the first request lost", 1, 0, resendFirst},
		{"two requests lost", 2, 0, 3 * resendFirst},
		{"receipt and answer lost", 0, 2, resendFirst},
		{"receipt lost", 0, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			na, tapA := tapped(t, c.loseAsked)
			nb, tapB := tapped(t, c.loseBack, na.Addr().String())
			await(t, nb.Joined(), "join")
			a, b := newDevice(t, na, RouteDirect, nil), newDevice(t, nb, RouteDirect, nil)
			befriend(t, a, b)
			took := mustCall(t, a, b)
			t.Logf("answered after %v, %d requests, %d receipts, %d answers", took,
				len(tapA.direct(directRequest)), len(tapB.direct(directReceipt)), len(tapB.direct(directAnswer)))
			if took < c.atLeast {
				t.Errorf("answered after %v, want no sooner than %v", took, c.atLeast)
			}
			if got := len(b.callers()); got != 1 {
				t.Errorf("handled %d times, want once", got)
			}
			for _, d := range append(tapA.direct(directRequest), tapB.direct(directAnswer)...) {
				if len(d) > 1200 {
					t.Errorf("a datagram of %d bytes, want 1200 at most", len(d))
				}
			}
		})
	}
}

// TestNothingIsSentBackToWhoIsNoContact: not a byte, whatever it sends.
func TestNothingIsSentBackToWhoIsNoContact(t *testing.T) {
	t.Parallel()
	na, tapA := tapped(t, 0)
	nb, tapB := tapped(t, 0, na.Addr().String())
	await(t, nb.Joined(), "join")
	a, b := newDevice(t, na, RouteDirect, nil), newDevice(t, nb, RouteDirect, nil)
	befriend(t, a, b)
	mustCall(t, a, b)
	request := tapA.direct(directRequest)[0]
	stranger, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := signalling.Seal(stranger, signalling.Message{Kind: signalling.Request, To: b.ID(), Expiry: time.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	var right hint
	copy(right[:], request[directHeader:])

	atk := attack(t, nb)
	before := len(tapB.direct(directReceipt)) + len(tapB.direct(directAnswer))
	for _, c := range []struct {
		name   string
		packet []byte
		want   DropReason // pass: it is looked at, and then met with silence
	}{
		{"the magic byte alone", []byte{directMagic}, DropMalformed},
		{"a version nobody speaks", append([]byte{directMagic, 2}, request[2:]...), DropMalformed},
		{"a type nobody knows", []byte{directMagic, 1, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8}, DropMalformed},
		{"cut off", request[:500], DropMalformed},
		{"a request with a hint of its own making", appendDatagram(nil, datagram{kind: directRequest, hint: hint{1}, sealed: sealed}), DropDirect},
		{"an answer to a question that was not asked", appendDatagram(nil, datagram{kind: directAnswer, sealed: sealed}), DropDirect},
		{"a receipt for one", appendDatagram(nil, datagram{kind: directReceipt}), DropDirect},
		{"a stranger's request with a contact's hint", appendDatagram(nil, datagram{kind: directRequest, hint: right, sealed: sealed}), pass},
		{"noise with a contact's hint", appendDatagram(nil, datagram{kind: directRequest, hint: right, sealed: make([]byte, signalling.SealedSmall)}), pass},
	} {
		drops, refused := nb.Stats().Drops[c.want], b.sig.Stats().Refused+b.sig.Stats().Bad
		atk.send(string(c.packet))
		eventually(t, c.name+" to be dropped", func() bool {
			if c.want == pass {
				return b.sig.Stats().Refused+b.sig.Stats().Bad > refused
			}
			return nb.Stats().Drops[c.want] > drops
		})
	}
	if after := len(tapB.direct(directReceipt)) + len(tapB.direct(directAnswer)); after != before {
		t.Errorf("%d datagrams were sent back", after-before)
	}
}

// TestAReplayedDirectRequest is met with the answer that was given, no longer than the request, and is not handled.
func TestAReplayedDirectRequest(t *testing.T) {
	t.Parallel()
	na, tapA := tapped(t, 0)
	nb, tapB := tapped(t, 0, na.Addr().String())
	await(t, nb.Joined(), "join")
	a, b := newDevice(t, na, RouteDirect, nil), newDevice(t, nb, RouteDirect, nil)
	befriend(t, a, b)
	mustCall(t, a, b)
	request := tapA.direct(directRequest)[0]
	answers := len(tapB.direct(directAnswer))
	atk := attack(t, nb)
	const flood = 200
	for range flood {
		atk.send(string(request))
	}
	eventually(t, "the flood to be cut", func() bool { return nb.Stats().Drops[DropDirectFlood] > 0 })
	eventually(t, "a replay to be answered", func() bool { return len(tapB.direct(directAnswer)) > answers })
	if got := len(b.callers()); got != 1 {
		t.Errorf("handled %d times, want once", got)
	}
	if got := len(tapB.direct(directAnswer)) - answers; got > flood/2 {
		t.Errorf("%d replays were answered, want the contact's share, %d at once and %d a second", got, directBurst, directRate)
	}
	out, in := 0, 0
	for _, d := range append(tapB.direct(directAnswer), tapB.direct(directReceipt)...) {
		out += len(d)
	}
	in = (flood + 1) * len(request)
	if out > in {
		t.Errorf("%d bytes were sent for %d", out, in)
	}
	// The contact itself is served all the same, once its share has grown again.
	mustCall(t, a, b)
}

func TestDirectGoesToEveryAddressOfTheRecord(t *testing.T) {
	t.Parallel()
	na, tapA := tapped(t, 0)
	nb, _ := tapped(t, 0, na.Addr().String())
	await(t, nb.Joined(), "join")
	silent, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	dead := silent.LocalAddr().(*net.UDPAddr).AddrPort()
	a := newDevice(t, na, RouteDirect, nil)
	b := newDevice(t, nb, RouteDirect, func(c *CourierConfig, _ *signalling.Config) {
		c.Announce = []netip.AddrPort{dead, nb.Addr()}
	})
	befriend(t, a, b)
	mustCall(t, a, b)
	tapA.mu.Lock()
	defer tapA.mu.Unlock()
	if len(tapA.to) < 2 || tapA.to[0] != dead || tapA.to[1] != nb.Addr() {
		t.Errorf("sent to %v, want both addresses", tapA.to)
	}
}

// BenchmarkCall reports what a call costs once the devices know each other's presence: one round trip and the
// cryptography of two messages at both ends.
func BenchmarkCall(b *testing.B) {
	for _, c := range []struct {
		name  string
		route RouteSet
	}{
		{"direct", RouteDirect},
		{"slot every 100 ms", RouteSlot},
	} {
		b.Run(c.name, func(b *testing.B) {
			first := benchNode(b)
			quick := func(cc *CourierConfig, _ *signalling.Config) { cc.Poll = 100 * time.Millisecond }
			x, y := newDevice(b, first, c.route, quick), newDevice(b, benchNode(b, first.Addr().String()), c.route, quick)
			befriend(b, x, y)
			mustCall(b, x, y)
			for b.Loop() {
				mustCall(b, x, y)
				b.StopTimer()
				wait(b.Context(), time.Second/directRate) // no faster than a contact may ask
				b.StartTimer()
			}
		})
	}
}

func benchNode(b *testing.B, bootstrap ...string) *Node {
	n := listen(b, bootstrap...)
	if len(bootstrap) > 0 {
		await(b, n.Joined(), "join")
	}
	return n
}
