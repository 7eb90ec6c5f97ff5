package turn

import (
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/core/udp"
	"traverse.internal/turn/alloc"
)

// crowd is many clients behind one socket: each has a loopback address of its own, 127.1.0.0 and on. Only Linux has all of
// 127.0.0.0/8 without asking.
type crowd struct {
	*socket
	server netip.AddrPort
	key    []byte
}

// crowdWindow is how many requests are on their way at once: their answers fit the smallest queue that a socket has.
const crowdWindow = 128

func newCrowd(t testing.TB, s *Server) *crowd {
	return &crowd{newSocket(t, netip.IPv4Unspecified(), false), s.UDPAddrs()[0], stun.LongTermKey("u", "test", "p")}
}

// member is the i-th client's address.
func member(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(1 + i>>16), byte(i >> 8), byte(i)})
}

func memberOf(ip netip.Addr) int {
	b := ip.As4()
	return int(b[1]-1)<<16 | int(b[2])<<8 | int(b[3])
}

// ask has clients from..to each send a request, and gives every answer to take, in any order.
func (c *crowd) ask(from, to int, request func(i int) []byte, take func(i int, m stun.Message)) {
	c.t.Helper()
	for i := from; i < to; i++ {
		c.out.Add(request(i), udp.Route{To: c.server, From: member(i)})
		if c.out.Full() {
			c.flush()
		}
	}
	c.flush()
	for range to - from {
		b := c.receive()
		i := memberOf(c.in.To(c.next - 1))
		m, err := stun.Parse(b)
		if err != nil {
			c.t.Fatalf("client %d: %v", i, err)
		}
		take(i, m)
	}
}

// request is signed when there is a nonce.
func (c *crowd) request(method stun.Method, nonce []byte, add ...attrs) []byte {
	b := stun.New(nil, method.Request(), stun.NewTransactionID())
	for _, a := range add {
		a(&b)
	}
	if nonce != nil {
		b.AddText(stun.AttrUsername, "u")
		b.AddText(stun.AttrRealm, "test")
		b.Add(stun.AttrNonce, nonce)
		b.AddIntegrity(c.key)
	}
	return b.Bytes()
}

// learn has clients from..to told their nonces.
func (c *crowd) learn(from, to int, nonces [][]byte) {
	c.t.Helper()
	c.ask(from, to, func(int) []byte { return c.request(stun.MethodRefresh, nil) }, func(i int, m stun.Message) {
		nonce, err := m.Text(stun.AttrNonce)
		if err != nil {
			c.t.Fatalf("client %d got no nonce: %v", i, err)
		}
		nonces[i-from] = []byte(string(nonce))
	})
}

// want has clients from..to make a request that succeeds.
func (c *crowd) want(method stun.Method, from, to int, nonces [][]byte, add ...attrs) {
	c.t.Helper()
	c.ask(from, to, func(i int) []byte { return c.request(method, nonces[i-from], add...) }, func(i int, m stun.Message) {
		if code := codeOf(c.t, m); code != 0 {
			c.t.Fatalf("client %d: %v: %v", i, method, code)
		}
	})
}

// crowded serves as many allocations as a test likes to have.
func crowded(t testing.TB, mode RelayMode, n int) *Server {
	t.Helper()
	return startServer(t, func(c *Config) {
		c.RelayMode = mode
		c.Limits = alloc.Limits{Allocations: n + 10, PerUser: n + 10}
	})
}

// 100,000 allocations at a few shared ports, and 15,000 with a port each, in little memory; some of them are used, and all of
// them end with their lifetime.
func TestManyAllocations(t *testing.T) {
	for _, c := range []struct {
		name  string
		mode  RelayMode
		n     int
		files int // descriptors that each takes
	}{
		{"shared", RelayShared, 100_000, 0},
		{"a port each", RelayPort, 15_000, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var limit syscall.Rlimit
			if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Max < uint64(c.n*c.files+1000) {
				t.Skipf("at most %d descriptors, %v; it takes %d", limit.Max, err, c.n*c.files+1000)
			}
			n := c.n
			if raceEnabled {
				n /= 20 // it takes ten times as long
			}
			manyAllocations(t, crowded(t, c.mode, n), n)
		})
	}
}

func manyAllocations(t *testing.T, s *Server, n int) {
	clients := newCrowd(t, s)
	heap := func() int {
		runtime.GC()
		runtime.GC() // the second empties the pools
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc + m.StackInuse)
	}
	nonces := make([][]byte, crowdWindow)
	before, begin := heap(), time.Now()
	for from := 0; from < n; from += crowdWindow {
		to := min(n, from+crowdWindow)
		clients.learn(from, to, nonces)
		clients.want(stun.MethodAllocate, from, to, nonces, wantUDP)
	}
	if got := count(s); got != n {
		t.Fatalf("%d allocations, want %d", got, n)
	}
	each := (heap() - before) / n
	t.Logf("%d allocations, %d bytes each, made in %v", n, each, time.Since(begin).Round(time.Millisecond))
	if each > 4<<10 && !raceEnabled {
		t.Errorf("%d bytes an allocation, want 4 KiB at most", each)
	}
	// One in a hundred talks to a peer.
	const sample = 16
	for from := 0; from < n; from += max(sample, n/sample) {
		clients.learn(from, from+1, nonces)
		peer := newPeer(t, loop4)
		clients.want(stun.MethodChannelBind, from, from+1, nonces, channel(0x4000), peerAt(peer.addr))
		clients.out.Add(channelData(0x4000, []byte("up")), udp.Route{To: clients.server, From: member(from)})
		clients.flush()
		got, relayed := peer.receive()
		peer.send(relayed, []byte("down"))
		down := string(payload(t, clients.receive()))
		if to := memberOf(clients.in.To(clients.next - 1)); string(got) != "up" || down != "down" || to != from {
			t.Fatalf("client %d: %q up, %q down to %d", from, got, down, to)
		}
	}
	s.skew.Store(int64(11 * time.Minute))
	waitFor(t, "their end", func() bool { return count(s) == 0 })
	s.ledgerMu.Lock()
	left := s.ledger.Total()
	s.ledgerMu.Unlock()
	if left != 0 {
		t.Errorf("%d are charged", left)
	}
}

// Making and ending an allocation allocates a bounded number of times, whichever mode.
func TestCostOfAnAllocation(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for name, mode := range map[string]RelayMode{"a port each": RelayPort, "shared": RelayShared} {
		t.Run(name, func(t *testing.T) {
			s := crowded(t, mode, 10*crowdWindow)
			cycle := allocationCycle(newCrowd(t, s))
			cycle()
			before := s.Stats().Datagrams
			const rounds = 20
			var a, b runtime.MemStats
			runtime.ReadMemStats(&a)
			for range rounds {
				cycle()
			}
			runtime.ReadMemStats(&b)
			io := s.Stats().Datagrams
			each := float64(b.Mallocs-a.Mallocs) / (rounds * crowdWindow)
			calls := float64(io.RecvCalls+io.SendCalls-before.RecvCalls-before.SendCalls) / (rounds * crowdWindow)
			t.Logf("%.1f heap allocations, both ends; %.2f system calls for datagrams", each, calls)
			if each > 120 { // 3 requests built and signed, 3 checked and answered, the allocation itself
				t.Errorf("%.1f heap allocations for one", each)
			}
			if calls > 4 { // 3 answers one by one, and batches received
				t.Errorf("%.2f system calls for one", calls)
			}
		})
	}
}

// allocationCycle returns a function that makes and ends crowdWindow allocations, each with a challenge first.
func allocationCycle(c *crowd) func() {
	nonces := make([][]byte, crowdWindow)
	return func() {
		c.t.Helper()
		c.learn(0, crowdWindow, nonces)
		c.want(stun.MethodAllocate, 0, crowdWindow, nonces, wantUDP)
		c.want(stun.MethodRefresh, 0, crowdWindow, nonces, lifetime(0))
	}
}

// BenchmarkAllocations makes and ends allocations, challenge included. Both ends are in this process: allocs/cpu-s counts the
// client's half, too.
func BenchmarkAllocations(b *testing.B) {
	for name, mode := range map[string]RelayMode{"port": RelayPort, "shared": RelayShared} {
		b.Run(name, func(b *testing.B) {
			cycle := allocationCycle(newCrowd(b, crowded(b, mode, 10*crowdWindow)))
			cycle()
			cpu := cpuTime()
			b.ResetTimer()
			for range b.N {
				cycle()
			}
			b.StopTimer()
			spent := (cpuTime() - cpu).Seconds()
			b.ReportMetric(float64(b.N*crowdWindow)/b.Elapsed().Seconds(), "allocations/s")
			b.ReportMetric(float64(b.N*crowdWindow)/spent, "allocations/cpu-s")
		})
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// What many clients send at once leaves a shared relayed address with few system calls, and what many peers answer with comes
// back so; the bytes are whole, and nothing is allocated for them.
func TestSharedRelayBatches(t *testing.T) {
	s := startShared(t, 1, func(c *Config) { c.Limits.PerUser = 100 })
	const n, rounds = 48, 20
	clients, peers := newCrowd(t, s), newSocket(t, netip.IPv4Unspecified(), false)
	nonces := make([][]byte, n)
	clients.learn(0, n, nonces)
	clients.want(stun.MethodAllocate, 0, n, nonces, wantUDP)
	relayed := s.Sessions()[0].Relayed
	frames := make([][]byte, n)
	for i := range n {
		frames[i] = channelData(0x4000, []byte{byte(i), 1, 2, 3})
		clients.want(stun.MethodChannelBind, i, i+1, nonces[i:], channel(0x4000), peerAt(netip.AddrPortFrom(member(i), peers.conn.LocalAddr().Port())))
	}
	take := func(from *socket, what string) {
		var seen [n]bool
		for range n {
			b := from.receive()
			i := memberOf(from.in.To(from.next - 1))
			if len(b) > 4 {
				b = b[stun.ChannelDataHeaderLen:]
			}
			if len(b) != 4 || int(b[0]) != i || seen[i] {
				t.Fatalf("%s: %x at %d", what, b, i)
			}
			seen[i] = true
		}
	}
	round := func() {
		for i := range n {
			clients.out.Add(frames[i], udp.Route{To: clients.server, From: member(i)})
		}
		clients.flush()
		take(peers, "up")
		for i := range n {
			peers.out.Add(frames[i][stun.ChannelDataHeaderLen:], udp.Route{To: relayed, From: member(i)})
		}
		peers.flush()
		take(clients.socket, "down")
	}
	round()
	before := s.Stats().Datagrams
	for range rounds {
		round()
	}
	waitFor(t, "the rounds to be counted", func() bool { return s.Stats().Datagrams.Sent >= before.Sent+2*n*rounds })
	after := s.Stats().Datagrams
	if calls := after.SendCalls - before.SendCalls; calls*4 > 2*n*rounds {
		t.Errorf("%d system calls sent %d datagrams", calls, 2*n*rounds)
	}
	if raceEnabled {
		return
	}
	if got := testing.AllocsPerRun(50, round); got >= 1 {
		t.Errorf("%v allocations for %d datagrams", got, 2*n)
	}
}
