package turn

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	piondtls "github.com/pion/dtls/v2"

	"traverse.internal/core/stun"
	"traverse.internal/core/udp"
	"traverse.internal/turn/alloc"
)

func startDTLS(t testing.TB, change func(*Config)) *Server {
	return startServer(t, func(c *Config) {
		c.ListenDTLS = []netip.AddrPort{netip.AddrPortFrom(loop4, 0)}
		c.CertFile, c.KeyFile = writeCertificate(t, t.TempDir(), 1)
		if change != nil {
			change(c)
		}
	})
}

// tryDTLS dials from a local address, or from any.
func tryDTLS(t testing.TB, server netip.AddrPort, local *net.UDPAddr) (*piondtls.Conn, error) {
	t.Helper()
	conn, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(server))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	polite := &politeConn{UDPConn: conn, said: make(chan struct{})}
	secured, err := piondtls.ClientWithContext(ctx, polite, &piondtls.Config{
		InsecureSkipVerify: true, SupportedProtocols: []string{"stun.turn"}, FlightInterval: 100 * time.Millisecond,
	})
	if err != nil {
		conn.Close()
	}
	polite.ready.Store(err == nil)
	return secured, err
}

// politeConn says good-bye: pion's Conn.Close ends its reader, which closes the connection, before or after close_notify is
// written.
type politeConn struct {
	*net.UDPConn
	once  sync.Once
	said  chan struct{} // closed when an alert was sent
	ready atomic.Bool   // the handshake is over
}

func (c *politeConn) Write(b []byte) (int, error) {
	n, err := c.UDPConn.Write(b)
	if b[0] == 21 { // an alert
		c.once.Do(func() { close(c.said) })
	}
	return n, err
}

func (c *politeConn) Close() error {
	if c.ready.Load() {
		select {
		case <-c.said:
		case <-time.After(patience):
		}
	}
	return c.UDPConn.Close()
}

func dialDTLS(t testing.TB, server netip.AddrPort) *testClient {
	t.Helper()
	conn, err := tryDTLS(t, server, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &testClient{t: t, conn: conn, user: "u", pass: "p"}
}

func TestDTLSRelaysBothWays(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			if f.ip == loop6 {
				needIPv6(t)
			}
			s := startDTLS(t, func(c *Config) {
				c.ListenDTLS = []netip.AddrPort{netip.AddrPortFrom(f.ip, 0), netip.AddrPortFrom(netip.Addr{}, 0)}
			})
			peer := newPeer(t, loop4)
			for _, server := range []netip.AddrPort{s.DTLSAddrs()[0], netip.AddrPortFrom(f.ip, s.DTLSAddrs()[1].Port())} {
				if f.ip == loop6 && server.Port() != s.DTLSAddrs()[0].Port() {
					server = netip.AddrPortFrom(f.ip, s.DTLSAddrs()[2].Port())
				}
				c := dialDTLS(t, server)
				if m := c.ask(stun.MethodBinding); m.Type().Class != stun.ClassSuccess {
					t.Fatal("no Binding")
				}
				relayed := c.allocate()
				if code := c.code(stun.MethodCreatePermission, peerAt(peer.addr)); code != 0 {
					t.Fatal(code)
				}
				peer.send(relayed, []byte("before the channel"))
				if data, _ := c.indication(stun.MethodData).Attr(stun.AttrData); string(data) != "before the channel" {
					t.Errorf("got %q", data)
				}
				if code := c.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); code != 0 {
					t.Fatal(code)
				}
				for _, size := range []int{0, 1, 1200, 8000} { // pion's reader takes 8 KiB
					want := bytes.Repeat([]byte("d"), size)
					c.send(channelData(0x4000, want))
					if got, _ := peer.receive(); !bytes.Equal(got, want) {
						t.Errorf("the peer got %d bytes, want %d", len(got), size)
					}
					peer.send(relayed, want)
					if _, got, err := stun.ParseChannelData(c.frame()); err != nil || !bytes.Equal(got, want) {
						t.Errorf("the client got %d bytes, %v; want %d", len(got), err, size)
					}
				}
				// RFC 8656 §7.1: over UDP a relayed transport of TCP is not to be had. Behaviour 103.
				if code := dialDTLS(t, server).login().code(stun.MethodAllocate, wantTCP); code != stun.CodeBadRequest {
					t.Errorf("a TCP allocation over DTLS: got %v, want 400", code)
				}
			}
			if got := s.Sessions()[0].Transport; got != "dtls" {
				t.Errorf("transport %q, want dtls", got)
			}
		})
	}
}

// The client's close_notify ends its allocation, as the end of a TCP connection does.
func TestDTLSCloseEndsTheAllocation(t *testing.T) {
	s := startDTLS(t, nil)
	c := dialDTLS(t, s.DTLSAddrs()[0])
	c.allocate()
	if st := s.Stats(); st.DTLSSessions != 1 || st.Streams != 1 || st.Strangers != 0 {
		t.Errorf("with an allocation: %+v", st)
	}
	c.conn.Close()
	waitFor(t, "the allocation to end", func() bool { return count(s) == 0 })
	if st := s.Stats(); st.DTLSSessions+st.Streams+st.Strangers != 0 || st.DTLSHandshakes["done"] != 1 {
		t.Errorf("after its end: %+v", st)
	}
}

// A client that was restarted on the same port shakes hands again, and what it had before is gone: RFC 6347 §4.2.8.
func TestDTLSClientBeginsAgain(t *testing.T) {
	s := startDTLS(t, nil)
	for round := range 3 {
		local, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loop4.AsSlice()})
		if err != nil {
			t.Fatal(err)
		}
		at := local.LocalAddr().(*net.UDPAddr)
		local.Close()
		for range 2 {
			conn, err := net.DialUDP("udp4", at, net.UDPAddrFromAddrPort(s.DTLSAddrs()[0]))
			if err != nil {
				t.Fatal(err)
			}
			secured, err := piondtls.Client(conn, &piondtls.Config{InsecureSkipVerify: true, FlightInterval: 100 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			c := &testClient{t: t, conn: secured, user: "u", pass: "p"}
			c.allocate()
			conn.Close() // without a word
		}
		if got := count(s); got != round+1 {
			t.Errorf("%d allocations, want %d", got, round+1)
		}
	}
}

func TestDTLSDeadlines(t *testing.T) {
	s := startDTLS(t, nil)
	idle := dialDTLS(t, s.DTLSAddrs()[0])
	busy := dialDTLS(t, s.DTLSAddrs()[0])
	busy.allocate()
	// Half a handshake: whatever comes after the proof of address is lost.
	half, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(s.DTLSAddrs()[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	go func() { // ends by its context
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, _ = piondtls.ClientWithContext(ctx, &deafConn{UDPConn: half}, &piondtls.Config{InsecureSkipVerify: true})
	}()
	waitFor(t, "half a handshake", func() bool { return s.Stats().DTLSPending == 1 })
	s.skew.Add(int64(11 * time.Second))
	waitFor(t, "its end", func() bool { return s.Stats().DTLSPending == 0 })
	if st := s.Stats(); st.DTLSHandshakes["timeout"] != 1 || st.DTLSSessions != 2 {
		t.Errorf("after 11 s: %+v", st)
	}
	s.skew.Add(int64(20 * time.Second))
	waitFor(t, "the end of a session without an allocation", func() bool { return s.Stats().DTLSSessions == 1 })
	_ = idle.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := idle.conn.Read(make([]byte, 100)); err == nil || isTimeout(err) {
		t.Errorf("the idle client: got %v, want an end", err)
	}
	if code := busy.code(stun.MethodRefresh); code != 0 {
		t.Errorf("the other: %v", code)
	}
}

// deafConn hears no more than the cookie.
type deafConn struct {
	*net.UDPConn
	heard  bool
	missed atomic.Int32 // datagrams
}

func (c *deafConn) Read(b []byte) (int, error) {
	for {
		n, err := c.UDPConn.Read(b)
		if err != nil || !c.heard {
			c.heard = true
			return n, err
		}
		c.missed.Add(1)
	}
}

// Our flight is sent again to a client that does not ask for it, a few times.
func TestDTLSFlightIsRepeated(t *testing.T) {
	s := startDTLS(t, nil)
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(s.DTLSAddrs()[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	deaf := &deafConn{UDPConn: conn}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = piondtls.ClientWithContext(ctx, deaf, &piondtls.Config{InsecureSkipVerify: true, FlightInterval: time.Hour})
	}()
	waitFor(t, "the flight", func() bool { return deaf.missed.Load() == 1 })
	for i, second := range []int64{1, 2, 4} {
		s.skew.Store(second * int64(time.Second))
		waitFor(t, "the flight again", func() bool { return deaf.missed.Load() == 2+int32(i) })
	}
	cancel()
	<-done
}

func TestDTLSLimits(t *testing.T) {
	s := startDTLS(t, func(c *Config) { c.MaxStrangers = 4 }) // one for each neighbourhood
	first := dialDTLS(t, s.DTLSAddrs()[0])
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(s.DTLSAddrs()[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		waitFor(t, "a refusal", func() bool { return s.Stats().DTLSHandshakes["refused"] > 0 })
		cancel()
	}()
	if _, err := piondtls.ClientWithContext(ctx, conn, &piondtls.Config{InsecureSkipVerify: true, FlightInterval: 50 * time.Millisecond}); err == nil {
		t.Error("a second stranger of the same neighbourhood is let in")
	}
	first.allocate() // no longer a stranger
	dialDTLS(t, s.DTLSAddrs()[0]).allocate()
}

// 10,000 ClientHellos from as many made-up sources: each is answered by a cookie or by silence, and nothing stays.
func TestDTLSFloodLeavesNothing(t *testing.T) {
	s := startDTLS(t, func(c *Config) { c.Shards = 1 })
	sink, err := udp.Listen(netip.AddrPortFrom(loop4, 0), udp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	k := newDTLSSocket(&listener{shard: s.shards[0], conn: sink, local: s.DTLSAddrs()[0]}) // the server's own has its goroutine
	w := newWorker(k.shard)
	hello := firstFlight(t)
	ip, server := netip.MustParseAddr("127.200.0.1"), s.DTLSAddrs()[0]
	one := func() {
		tuple := alloc.FiveTuple{Client: netip.AddrPortFrom(ip, 40_000), Server: server, Transport: alloc.DTLS}
		k.datagram(w, s.now(), tuple, netip.Addr{}, hello, 0)
		ip = ip.Next()
	}
	var before, after runtime.MemStats
	one()
	runtime.GC()
	runtime.ReadMemStats(&before)
	if n := testing.AllocsPerRun(10_000, one); n != 0 && !raceEnabled {
		t.Errorf("%v allocations a ClientHello, want 0", n)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("memory grew by %d bytes", grown)
	}
	if asked := s.Stats().DTLSHandshakes["asked"]; asked < 10_000 || len(k.pending)+len(k.clients)+len(s.dtlsJobs) > 0 {
		t.Errorf("%d asked for a cookie, %d pending, %d open", asked, len(k.pending), len(k.clients))
	}
	if st := s.Stats(); st.Streams+st.Strangers != 0 {
		t.Errorf("counted: %+v", st)
	}
}

// firstFlight is a client's first datagram.
func firstFlight(t testing.TB) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = piondtls.ClientWithContext(ctx, far, &piondtls.Config{InsecureSkipVerify: true})
	}()
	b := make([]byte, 2048)
	n, err := near.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	near.Close()
	<-done
	return b[:n]
}
