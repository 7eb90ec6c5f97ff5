package turn

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/core/udp"
)

// socket is a UDP socket of a test that sends many datagrams at once, and takes them.
type socket struct {
	t      testing.TB
	conn   *udp.Conn
	poller *udp.Poller
	in     *udp.RecvBatch
	out    *udp.SendBatch
	stats  udp.Stats
	next   int         // of in
	late   *time.Timer // ends a receive
}

func newSocket(t testing.TB, ip netip.Addr, trains bool) *socket {
	t.Helper()
	s := &socket{t: t}
	var err error
	s.conn, err = udp.Listen(netip.AddrPortFrom(ip, 0), udp.Options{RecvBuffer: 4 << 20, SendBuffer: 4 << 20, Trains: trains})
	if err == nil {
		s.poller, err = udp.NewPoller(&s.stats)
	}
	if err == nil {
		err = s.poller.Add(s.conn, s)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.late = time.AfterFunc(patience, func() { s.poller.Close() })
	s.late.Stop()
	t.Cleanup(func() {
		s.conn.Close()
		s.poller.Close()
	})
	s.in, s.out = udp.NewRecvBatch(&s.stats), udp.NewSendBatch(&s.stats)
	return s
}

// send sends datagrams; trains says whether those of one length may travel together.
func (s *socket) send(to netip.AddrPort, trains bool, packets ...[]byte) {
	s.t.Helper()
	for _, p := range packets {
		s.out.Add(p, udp.Route{To: to})
		if !trains || s.out.Full() {
			s.flush()
		}
	}
	s.flush()
}

func (s *socket) flush() {
	s.t.Helper()
	if dropped := s.conn.Send(s.out); dropped != (udp.Drops{}) {
		s.t.Fatalf("%v dropped", dropped)
	}
}

// receive returns the next datagram, which is good until the next call.
func (s *socket) receive() []byte {
	s.t.Helper()
	var ready [1]udp.Ready
	for s.next == s.in.Len() {
		s.late.Reset(patience)
		_, err := s.poller.Wait(ready[:])
		s.late.Stop()
		s.in.Reset()
		s.next = 0
		if err == nil {
			_, err = s.conn.Recv(s.in, udp.BatchLen)
		}
		if err != nil {
			s.t.Fatalf("nothing came: %v", err)
		}
	}
	s.next++
	return s.in.Packet(s.next - 1)
}

// Read and Write make a socket a client's connection.
type socketConn struct {
	net.Conn // nil: only what testClient uses is here
	*socket
	server netip.AddrPort
}

func (c socketConn) Read(b []byte) (int, error)      { return copy(b, c.receive()), nil }
func (c socketConn) Write(b []byte) (int, error)     { c.send(c.server, false, b); return len(b), nil }
func (c socketConn) SetReadDeadline(time.Time) error { return nil }

// dialSocket returns a UDP client, and the socket it has.
func dialSocket(t testing.TB, server netip.AddrPort, trains bool) (*testClient, *socket) {
	t.Helper()
	s := newSocket(t, server.Addr(), trains)
	return &testClient{t: t, conn: socketConn{nil, s, server}, user: "u", pass: "p"}, s
}

// udpAt returns the server's UDP address of a family.
func udpAt(s *Server, ip netip.Addr) netip.AddrPort {
	for _, a := range s.UDPAddrs() {
		if a.Addr() == ip {
			return a
		}
	}
	panic("turn: the test's server does not listen there")
}

// bothFamilies has a server listen on both loopback addresses.
func bothFamilies(c *Config) {
	c.ListenUDP = []netip.AddrPort{netip.AddrPortFrom(loop4, 0), netip.AddrPortFrom(loop6, 0)}
}

// Every byte of 300 datagrams of random length arrives, each way, whatever it travels in: one by one or in trains, over both
// families on both sides, to clients over UDP and TCP.
func TestEveryByteArrives(t *testing.T) {
	needIPv6(t)
	for _, mode := range []struct {
		name string
		mode RelayMode
	}{{"a port each", RelayPort}, {"shared", RelayShared}} {
		t.Run(mode.name, func(t *testing.T) {
			everyByteArrives(t, startServer(t, func(c *Config) {
				bothFamilies(c)
				c.RelayMode = mode.mode
			}))
		})
	}
}

func everyByteArrives(t *testing.T, s *Server) {
	for _, c := range []struct {
		name         string
		client, peer netip.Addr
		trains       bool // are sent
		taken        bool // and taken
		tcp, burst   bool
		indications  bool
	}{
		{name: "one by one", client: loop4, peer: loop4},
		{name: "one by one, IPv6", client: loop6, peer: loop6},
		{name: "one by one, in indications", client: loop4, peer: loop6, indications: true},
		{name: "trains of any length", client: loop4, peer: loop6, trains: true},
		{name: "bursts", client: loop4, peer: loop4, trains: true, burst: true},
		{name: "bursts, taken as such", client: loop4, peer: loop4, trains: true, taken: true, burst: true},
		{name: "bursts, IPv6", client: loop6, peer: loop6, trains: true, burst: true},
		{name: "bursts, taken as such, across", client: loop6, peer: loop4, trains: true, taken: true, burst: true},
		{name: "bursts in indications", client: loop4, peer: loop6, trains: true, taken: true, burst: true, indications: true},
		{name: "TCP", client: loop4, peer: loop4, tcp: true},
		{name: "TCP, bursts", client: loop4, peer: loop6, tcp: true, trains: true, taken: true, burst: true},
		{name: "TCP, bursts in indications", client: loop4, peer: loop4, tcp: true, trains: true, burst: true, indications: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, sock := dialSocket(t, udpAt(s, c.client), c.taken)
			if c.tcp {
				client, sock = dialTCP(t, s), nil
			}
			family := want4
			if c.peer.Is6() {
				family = want6
			}
			relayed := client.allocate(wantUDP, family)
			peer := newSocket(t, c.peer, c.taken)
			if c.indications {
				if got := client.code(stun.MethodCreatePermission, peerAt(peer.conn.LocalAddr())); got != 0 {
					t.Fatal(got)
				}
			} else if got := client.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.conn.LocalAddr())); got != 0 {
				t.Fatal(got)
			}
			random := rand.New(rand.NewPCG(1, 2))
			const total, window = 300, 20
			for done := 0; done < total; done += window {
				var data, frames [][]byte
				size := random.IntN(1400)
				for range window {
					if !c.burst || random.IntN(8) == 0 {
						size = random.IntN(1400)
					}
					if random.IntN(40) == 0 {
						size = random.IntN(9000)
					}
					d := make([]byte, size)
					for i := range d {
						d[i] = byte(random.Uint32())
					}
					data = append(data, d)
					if c.indications {
						frames = append(frames, sendIndication(d, peerAt(peer.conn.LocalAddr())))
					} else {
						frames = append(frames, channelData(0x4000, d))
					}
				}
				if c.tcp {
					client.send(bytes.Join(frames, nil))
				} else {
					sock.send(udpAt(s, c.client), c.trains, frames...)
				}
				for i, want := range data {
					if got := peer.receive(); !bytes.Equal(got, want) {
						t.Fatalf("up, datagram %d: %d bytes, want %d", done+i, len(got), len(want))
					}
				}
				peer.send(relayed, c.trains, data...)
				for i, want := range data {
					if got := payload(t, client.frame()); !bytes.Equal(got, want) {
						t.Fatalf("down, datagram %d: %d bytes, want %d", done+i, len(got), len(want))
					}
				}
			}
		})
	}
	if n := s.Stats().Datagrams; runtime.GOOS == "linux" && (n.TrainsIn == 0 || n.TrainsOut == 0) {
		t.Errorf("no trains: %+v", n)
	}
}

// payload returns what is in a frame, of either kind.
func payload(t testing.TB, frame []byte) []byte {
	t.Helper()
	if isChannel(frame[0]) {
		_, data, err := parseChannelData(frame)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	m, err := stun.Parse(frame)
	data, ok := m.Attr(stun.AttrData)
	if err != nil || !ok {
		t.Fatalf("a frame without data: %v", err)
	}
	return data
}

// Allocations cost no goroutines, and bursts few system calls.
func TestCostOfBursts(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux moves many datagrams with one call")
	}
	s := startServer(t, nil)
	client, sock := dialSocket(t, s.UDPAddrs()[0], true)
	relayed := client.allocate()
	peer := newSocket(t, loop4, true)
	if got := client.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.conn.LocalAddr())); got != 0 {
		t.Fatal(got)
	}
	before := runtime.NumGoroutine()
	for range 20 {
		dialUDP(t, s).allocate()
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("20 allocations: %d goroutines, before %d", after, before)
	}
	const burst, rounds = 32, 10
	up, down := make([][]byte, burst), make([][]byte, burst)
	for i := range burst {
		up[i], down[i] = channelData(0x4000, make([]byte, 200)), make([]byte, 200)
	}
	server := s.UDPAddrs()[0]
	round := func() {
		sock.send(server, true, up...)
		for range burst {
			peer.receive()
		}
		peer.send(relayed, true, down...)
		for range burst {
			sock.receive()
		}
	}
	begin := s.Stats().Datagrams.Sent // counted when the call has returned: perhaps after its datagrams have arrived
	round()
	waitFor(t, "a round", func() bool { return s.Stats().Datagrams.Sent >= begin+2*burst })
	a := s.Stats().Datagrams
	for range rounds {
		round()
	}
	waitFor(t, "the rounds", func() bool { return s.Stats().Datagrams.Sent >= a.Sent+2*burst*rounds })
	b := s.Stats().Datagrams
	packets := b.Sent - a.Sent
	calls := b.RecvCalls + b.SendCalls + b.Waits - a.RecvCalls - a.SendCalls - a.Waits
	if b.TrainsIn == a.TrainsIn {
		t.Errorf("no trains: %+v", b)
	}
	if calls*8 > packets { // a wait, a receive, a send for each train of 32, and half as much again
		t.Errorf("%d system calls for %d packets", calls, packets)
	}
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	if got := testing.AllocsPerRun(100, round); got >= 1 {
		t.Errorf("%v allocations for %d packets", got, 2*burst)
	}
}

// Many clients in one batch: what comes for each of them goes to its peer, in order, with one call for each relayed socket.
func TestInterleavedClients(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Shards = 1 })
	const clients, each = 8, 6
	type pair struct {
		sock    *socket
		peer    *testPeer
		relayed netip.AddrPort
	}
	var pairs []pair
	for range clients {
		client, sock := dialSocket(t, s.UDPAddrs()[0], false)
		relayed, peer := client.allocate(), newPeer(t, loop4)
		if got := client.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); got != 0 {
			t.Fatal(got)
		}
		pairs = append(pairs, pair{sock, peer, relayed})
	}
	for i := range each {
		for k, p := range pairs {
			p.sock.send(s.UDPAddrs()[0], false, channelData(0x4000, fmt.Appendf(nil, "%d of %d", i, k)))
		}
	}
	for k, p := range pairs {
		for i := range each {
			want := fmt.Sprintf("%d of %d", i, k)
			if got, _ := p.peer.receive(); string(got) != want {
				t.Errorf("up: got %q, want %q", got, want)
			}
		}
		for i := range each {
			p.peer.send(p.relayed, fmt.Appendf(nil, "%d of %d", i, k))
		}
	}
	for k, p := range pairs {
		for i := range each {
			want := fmt.Sprintf("%d of %d", i, k)
			if got := payload(t, p.sock.receive()); string(got) != want {
				t.Errorf("down: got %q, want %q", got, want)
			}
		}
	}
}

// What cannot be relayed is counted under its reason, and what comes behind it in the same batch is relayed.
func TestBadDatagramsAreCounted(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Shards = 1 })
	client, sock := dialSocket(t, s.UDPAddrs()[0], false)
	client.allocate()
	peer, mute := newPeer(t, loop4), newPeer(t, loop4)
	for i, p := range []*testPeer{peer, mute} {
		if got := client.code(stun.MethodChannelBind, channel(uint16(0x4000+i)), peerAt(p.addr)); got != 0 {
			t.Fatal(got)
		}
	}
	_, stranger := dialSocket(t, s.UDPAddrs()[0], false)
	drops := func() map[string]uint64 { return s.Stats().Drops }
	for _, c := range []struct {
		name   string
		from   *socket
		packet []byte
		reason DropReason
	}{
		{"nothing", sock, nil, DropGarbage},
		{"a byte", sock, []byte{0x40}, DropGarbage},
		{"half a header", sock, []byte{0x40, 0, 0}, DropGarbage},
		{"shorter than it says", sock, []byte{0x40, 0, 0, 5, 1, 2, 3, 4}, DropGarbage},
		{"neither ChannelData nor STUN", sock, []byte{0xff, 1, 2, 3}, DropGarbage},
		{"a number that is not bound", sock, channelData(0x4abc, []byte("x")), DropUnbound},
		{"no allocation", stranger, channelData(0x4000, []byte("x")), DropNoAllocation},
	} {
		before := drops()[c.reason.String()]
		c.from.send(s.UDPAddrs()[0], false, c.packet, c.packet)
		for _, data := range []string{"", "1", "12", "123", "four"} {
			sock.send(s.UDPAddrs()[0], false, channelData(0x4000, []byte(data)))
			if got, _ := peer.receive(); string(got) != data {
				t.Errorf("behind %s: got %q, want %q", c.name, got, data)
			}
		}
		waitFor(t, c.name+" to be counted", func() bool { return drops()[c.reason.String()] == before+2 })
	}
	// A peer that never reads costs others nothing.
	flood := channelData(0x4001, make([]byte, 1000))
	for range 300 {
		sock.send(s.UDPAddrs()[0], true, flood, flood, flood, flood, flood, flood, flood, flood)
		sock.send(s.UDPAddrs()[0], false, channelData(0x4000, []byte("still here")))
		if got, _ := peer.receive(); string(got) != "still here" {
			t.Fatalf("got %q", got)
		}
	}
	tcp := dialTCP(t, s)
	tcp.allocate()
	if got := tcp.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); got != 0 {
		t.Fatal(got)
	}
	tcp.send(append(channelData(0x4000, make([]byte, 65535)), channelData(0x4000, []byte("after"))...))
	if got, _ := peer.receive(); string(got) != "after" {
		t.Errorf("behind a datagram that is too long: %q", got)
	}
	waitFor(t, "it to be counted", func() bool { return drops()[DropTooBig.String()] == 1 })
}

// Clients are told of ICMP errors, of permitted peers only, and lose nothing by them.
func TestErrorsAreTold(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells of them")
	}
	s := startServer(t, nil)
	for name, dial := range map[string]func(testing.TB, *Server) *testClient{"udp": dialUDP, "tcp": dialTCP} {
		client, gone, peer := dial(t, s), newPeer(t, loop4), newPeer(t, loop4)
		gone.conn.Close()
		client.allocate()
		if got := client.code(stun.MethodCreatePermission, peerAt(gone.addr)); got != 0 {
			t.Fatal(got)
		}
		for range 3 {
			client.send(sendIndication([]byte("anybody?"), peerAt(gone.addr)))
			m := client.indication(stun.MethodData)
			typ, code, _, err := m.ICMP()
			if at, _ := m.XORAddr(stun.AttrXORPeerAddress); err != nil || typ != 3 || code != 3 || at != gone.addr {
				t.Errorf("%s: got type %d code %d of %v, %v", name, typ, code, at, err)
			}
			client.send(sendIndication([]byte("you"), peerAt(peer.addr)))
			if got, _ := peer.receive(); string(got) != "you" {
				t.Errorf("%s: got %q", name, got)
			}
		}
	}
	if n := s.Stats().ICMP; n != 6 {
		t.Errorf("%d errors counted, want 6", n)
	}
}
