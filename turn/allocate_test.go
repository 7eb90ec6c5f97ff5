package turn

import (
	"net/netip"
	"testing"
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/core/udp"
	"traverse.internal/turn/alloc"
)

func ifElse(is bool, yes, no stun.ErrorCode) stun.ErrorCode {
	if is {
		return yes
	}
	return no
}

// TURN.md 38 to 52 and 103, 104.
func TestAllocateRequests(t *testing.T) {
	s := startServer(t, nil)
	tokenOf := func(b ...byte) attrs { return token(append(b, make([]byte, 8-len(b))...)) }
	for _, c := range []struct {
		name string
		tcp  bool // client transport
		add  []attrs
		want stun.ErrorCode
	}{
		{name: "no transport", want: 400},
		{name: "short transport", add: []attrs{raw(stun.AttrRequestedTransport, 17)}, want: 400},
		{name: "unsupported transport", add: []attrs{raw(stun.AttrRequestedTransport, 132, 0, 0, 0)}, want: 442},
		{name: "UDP", add: []attrs{wantUDP}},
		{name: "UDP over TCP", tcp: true, add: []attrs{wantUDP}},
		{name: "TCP over UDP", add: []attrs{wantTCP}, want: 400},
		{name: "TCP over TCP", tcp: true, add: []attrs{wantTCP}},
		{name: "TCP, even port", tcp: true, add: []attrs{wantTCP, even}, want: 400},
		{name: "TCP, token", tcp: true, add: []attrs{wantTCP, tokenOf(1)}, want: 400},
		{name: "TCP, dont fragment", tcp: true, add: []attrs{wantTCP, noFrag}, want: 400},
		{name: "dont fragment", add: []attrs{wantUDP, noFrag}, want: ifElse(udp.KeepsWhole, 0, 420)},
		{name: "IPv4", add: []attrs{wantUDP, want4}},
		{name: "family 3", add: []attrs{wantUDP, raw(stun.AttrRequestedAddressFamily, 3, 0, 0, 0)}, want: 440},
		{name: "short family", add: []attrs{wantUDP, raw(stun.AttrRequestedAddressFamily, 1)}, want: 400},
		{name: "both families' attributes", add: []attrs{wantUDP, want6, dual}, want: 400},
		{name: "additional IPv4", add: []attrs{wantUDP, raw(stun.AttrAdditionalAddressFamily, 1, 0, 0, 0)}, want: 400},
		{name: "even port", add: []attrs{wantUDP, even}},
		{name: "pair", add: []attrs{wantUDP, pair}},
		{name: "pair and additional family", add: []attrs{wantUDP, pair, dual}, want: 400},
		{name: "empty even port", add: []attrs{wantUDP, raw(stun.AttrEvenPort)}, want: 400},
		{name: "unknown token", add: []attrs{wantUDP, tokenOf(1)}, want: 508},
		{name: "short token", add: []attrs{wantUDP, raw(stun.AttrReservationToken, 1)}, want: 400},
		{name: "token and even port", add: []attrs{wantUDP, tokenOf(1), even}, want: 400},
		{name: "token and family", add: []attrs{wantUDP, tokenOf(1), want4}, want: 400},
		{name: "token and additional family", add: []attrs{wantUDP, tokenOf(1), dual}, want: 400},
		{name: "short lifetime attribute", add: []attrs{wantUDP, raw(stun.AttrLifetime, 1)}, want: 400},
	} {
		dial := dialUDP
		if c.tcp {
			dial = dialTCP
		}
		client := dial(t, s) // open until the server ends: the next one must not get its port while its allocation lives
		t.Run(c.name, func(t *testing.T) {
			client.t = t
			before := s.Stats().AllocationsCreated
			if got := client.login().code(stun.MethodAllocate, c.add...); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if made := s.Stats().AllocationsCreated - before; made > 1 || (made == 1) != (c.want == 0) {
				t.Errorf("%d allocations made", made)
			}
		})
	}
}

func TestAllocateAnswer(t *testing.T) {
	s := startServer(t, func(c *Config) { c.AdvertisedIP4 = netip.MustParseAddr("203.0.113.9") })
	for _, c := range []struct {
		ask, want uint32
	}{{0, 600}, {1, 600}, {1200, 1200}, {1 << 31, 3600}} {
		client := dialUDP(t, s).login()
		m := client.ask(stun.MethodAllocate, wantUDP, lifetime(c.ask))
		if got, _ := m.Uint32(stun.AttrLifetime); got != c.want {
			t.Errorf("lifetime %d: got %d, want %d", c.ask, got, c.want)
		}
		relayed, _ := m.XORAddr(stun.AttrXORRelayedAddress)
		if relayed.Addr() != s.config.AdvertisedIP4 || relayed.Port() < 49152 {
			t.Errorf("relayed %v, want the advertised address and a port from 49152 on", relayed)
		}
		mapped, _ := m.XORAddr(stun.AttrXORMappedAddress)
		if want := netip.MustParseAddrPort(client.conn.LocalAddr().String()); mapped != want {
			t.Errorf("mapped %v, want %v", mapped, want)
		}
		if m.Has(stun.AttrReservationToken) || m.Has(stun.AttrSoftware) {
			t.Error("a token or software that nobody asked for")
		}
	}
}

func TestNoMobility(t *testing.T) {
	c := dialUDP(t, startServer(t, nil)).login()
	if got := c.code(stun.MethodAllocate, wantUDP, raw(stun.AttrMobilityTicket)); got != stun.CodeMobilityForbidden {
		t.Errorf("got %v, want 405", got)
	}
	if got := c.code(stun.MethodAllocate, wantUDP); got != 0 {
		t.Errorf("without a ticket: got %v", got)
	}
}

func TestFamilies(t *testing.T) {
	needIPv6(t)
	s := startServer(t, nil)
	if relayed := dialUDP(t, s).allocate(wantUDP, want6); relayed.Addr() != loop6 {
		t.Errorf("IPv6: got %v", relayed)
	}
	if relayed := dialTCP(t, s).allocate(wantTCP, want6); relayed.Addr() != loop6 {
		t.Errorf("IPv6, TCP: got %v", relayed)
	}
	only6 := startServer(t, func(c *Config) { c.RelayIP4 = netip.Addr{} })
	for _, c := range []struct {
		add  []attrs
		want stun.ErrorCode
	}{{[]attrs{wantUDP}, 440}, {[]attrs{wantUDP, want4}, 440}, {[]attrs{wantUDP, want6}, 0}} {
		if got := dialUDP(t, only6).login().code(stun.MethodAllocate, c.add...); got != c.want {
			t.Errorf("IPv6 only: got %v, want %v", got, c.want)
		}
	}
}

// TURN.md 31 to 37.
func TestFiveTuples(t *testing.T) {
	s := startServer(t, nil)
	c := dialUDP(t, s)
	relayed := c.allocate()
	id := c.id

	if got := c.code(stun.MethodAllocate, wantUDP); got != stun.CodeAllocationMismatch {
		t.Errorf("a second Allocate: got %v, want 437", got)
	}
	c.id, c.fixedID = id, true
	if again := c.allocate(wantUDP); again != relayed {
		t.Errorf("a retransmission got %v, first %v", again, relayed)
	}
	c.fixedID = false
	if got := s.Stats().AllocationsCreated; got != 1 {
		t.Errorf("%d allocations made, want 1", got)
	}
	if got := c.code(stun.MethodRefresh, lifetime(0)); got != 0 {
		t.Errorf("Refresh 0: %v", got)
	}
	if got := c.code(stun.MethodRefresh, lifetime(0)); got != stun.CodeAllocationMismatch {
		t.Errorf("Refresh 0 again: got %v, want 437", got)
	}
	c.allocate()

	tcp := dialTCP(t, s)
	tcp.allocate()
	if got := tcp.code(stun.MethodAllocate, wantUDP); got != stun.CodeAllocationMismatch {
		t.Errorf("over TCP: a second Allocate: got %v, want 437", got)
	}
	tcp.conn.Close()
	waitFor(t, "the allocation to go with its connection", func() bool { return count(s) == 1 })
}

// TURN.md 47 to 50.
func TestReservation(t *testing.T) {
	s := startServer(t, nil)
	c := dialUDP(t, s).login()
	m := c.ask(stun.MethodAllocate, wantUDP, pair)
	first, _ := m.XORAddr(stun.AttrXORRelayedAddress)
	reserved, err := m.ReservationToken()
	if codeOf(t, m) != 0 || err != nil || first.Port()%2 != 0 {
		t.Fatalf("pair: got %v, %v %v", codeOf(t, m), first, err)
	}
	if st := s.Stats(); st.Reserved != 1 {
		t.Errorf("%d reserved, want 1", st.Reserved)
	}
	c.fixedID = true
	if again, _ := c.ask(stun.MethodAllocate, wantUDP, pair).ReservationToken(); again != reserved {
		t.Errorf("a retransmission got another token")
	}
	thief := dialUDP(t, s)
	thief.user, thief.pass = "v", "q"
	if got := thief.login().code(stun.MethodAllocate, wantUDP, token(reserved[:])); got != stun.CodeInsufficientCapacity {
		t.Errorf("another user's token: got %v, want 508", got)
	}
	second := dialTCP(t, s) // any 5-tuple
	if got := second.allocate(wantUDP, token(reserved[:])); got != netip.AddrPortFrom(first.Addr(), first.Port()+1) {
		t.Errorf("token: got %v, want the port after %v", got, first)
	}
	if got := dialUDP(t, s).login().code(stun.MethodAllocate, wantUDP, token(reserved[:])); got != stun.CodeInsufficientCapacity {
		t.Errorf("a used token: got %v, want 508", got)
	}
}

func TestEvenPorts(t *testing.T) {
	s := startServer(t, func(c *Config) { c.PortMin, c.PortMax = freeRange(t, 4) })
	low := s.config.PortMin
	a := dialUDP(t, s).login()
	m := a.ask(stun.MethodAllocate, wantUDP, even)
	if relayed, _ := m.XORAddr(stun.AttrXORRelayedAddress); relayed.Port()%2 != 0 || m.Has(stun.AttrReservationToken) {
		t.Errorf("even: got %v, token %v", relayed, m.Has(stun.AttrReservationToken))
	}
	// Ports low to low+3: one even port is taken, so one pair is left, and the odd one of the first.
	b := dialUDP(t, s)
	if relayed := b.allocate(wantUDP, pair); relayed.Port() != low && relayed.Port() != low+2 {
		t.Errorf("pair: got %v", relayed)
	}
	if got := dialUDP(t, s).login().code(stun.MethodAllocate, wantUDP, pair); got != stun.CodeInsufficientCapacity {
		t.Errorf("a pair too many: got %v, want 508", got)
	}
	if got := dialUDP(t, s).login().code(stun.MethodAllocate, wantUDP, even); got != stun.CodeInsufficientCapacity {
		t.Errorf("an even port too many: got %v, want 508", got)
	}
	if relayed := dialUDP(t, s).allocate(wantUDP); relayed.Port()%2 != 1 {
		t.Errorf("the partner of an even port without reservation: got %v", relayed)
	}
	if got := dialUDP(t, s).login().code(stun.MethodAllocate, wantUDP); got != stun.CodeInsufficientCapacity {
		t.Errorf("a port too many: got %v, want 508", got)
	}
	// The reserved port comes back after 30 s, the others with their allocations.
	s.skew.Store(int64(31 * time.Second))
	waitFor(t, "the reservation to end", func() bool { return s.Stats().Reserved == 0 })
	dialUDP(t, s).allocate()
	s.skew.Store(int64(20 * time.Minute))
	waitFor(t, "the allocations to end", func() bool { return count(s) == 0 })
	for range 2 {
		dialUDP(t, s).allocate(wantUDP, pair)
	}
}

// TURN.md 53 and 54.
func TestQuotas(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Limits = alloc.Limits{PerUser: 2, Allocations: 3} })
	clients := []*testClient{dialUDP(t, s), dialTCP(t, s)}
	for _, c := range clients {
		c.allocate()
	}
	if got := dialUDP(t, s).login().code(stun.MethodAllocate, wantUDP); got != stun.CodeAllocationQuotaReached {
		t.Errorf("a user's third: got %v, want 486", got)
	}
	other := dialUDP(t, s)
	other.user, other.pass = "v", "q"
	other.allocate()
	next := dialUDP(t, s)
	next.user, next.pass = "v", "q"
	if got := next.login().code(stun.MethodAllocate, wantUDP); got != stun.CodeInsufficientCapacity {
		t.Errorf("the server's fourth: got %v, want 508", got)
	}
	if got := clients[0].code(stun.MethodRefresh, lifetime(0)); got != 0 {
		t.Fatal(got)
	}
	dialUDP(t, s).allocate()
	if st := s.Stats(); st.Refusals["486"] != 1 || st.Refusals["508"] != 1 {
		t.Errorf("refusals: %v", st.Refusals)
	}
}

// TURN.md 61, 62 and 64.
func TestRefresh(t *testing.T) {
	s := startServer(t, nil)
	c := dialUDP(t, s)
	relayed := c.allocate()
	for _, step := range []struct {
		name string
		add  []attrs
		want stun.ErrorCode
		left uint32
	}{
		{"no lifetime", nil, 0, 600},
		{"long", []attrs{lifetime(1800)}, 0, 1800},
		{"too long", []attrs{lifetime(1 << 30)}, 0, 3600},
		{"its family", []attrs{want4}, 0, 600},
		{"another family", []attrs{want6}, 443, 0},
		{"short attribute", []attrs{raw(stun.AttrLifetime)}, 400, 0},
	} {
		m := c.ask(stun.MethodRefresh, step.add...)
		left, _ := m.Uint32(stun.AttrLifetime)
		if got := codeOf(t, m); got != step.want || left != step.left {
			t.Errorf("%s: got %v and %d s, want %v and %d s", step.name, got, left, step.want, step.left)
		}
	}
	c.code(stun.MethodRefresh)
	s.skew.Store(int64(599 * time.Second))
	if got := c.code(stun.MethodRefresh); got != 0 {
		t.Errorf("a second before its end: %v", got)
	}
	s.skew.Store(int64((599 + 602) * time.Second))
	waitFor(t, "the allocation to end", func() bool { return count(s) == 0 })
	if got := c.code(stun.MethodRefresh); got != stun.CodeAllocationMismatch {
		t.Errorf("after its end: got %v, want 437", got)
	}
	if free := newPeerAt(t, relayed); free == nil {
		t.Errorf("port %v is not free again", relayed)
	}
}

// Descriptors, ports and goroutines come back.
func TestChurnLeavesNothing(t *testing.T) {
	s := startServer(t, nil)
	for range 200 {
		c := dialUDP(t, s)
		c.allocate(wantUDP, pair)
		c.code(stun.MethodRefresh, lifetime(0))
		c.conn.Close()
		tcp := dialTCP(t, s)
		tcp.allocate(wantTCP)
		tcp.conn.Close()
	}
	s.skew.Store(int64(time.Minute))
	waitFor(t, "everything to end", func() bool {
		s.ledgerMu.Lock()
		defer s.ledgerMu.Unlock()
		used := 0
		for family := range s.ports {
			for protocol := range s.ports[family] {
				used += s.ports[family][protocol].free.Used()
			}
		}
		streams, strangers := s.door.counts()
		return used == 0 && s.ledger.Total() == 0 && streams == 0 && strangers == 0
	})
	if got := count(s); got != 0 {
		t.Errorf("%d allocations counted", got)
	}
}
