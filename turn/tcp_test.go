package turn

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

// listenPeer is a peer that accepts.
func listenPeer(t testing.TB, ip netip.Addr) (*net.TCPListener, netip.AddrPort) {
	t.Helper()
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, addrPortOf(l.Addr())
}

func dialPeer(t testing.TB, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

func connectionID(id uint32) attrs {
	return func(b *stun.Builder) { b.AddUint32(stun.AttrConnectionID, id) }
}

// dataConn is a new connection of the same client, with the nonce of its control connection, as real clients have it.
func (c *testClient) dataConn(s *Server) *testClient {
	d := dialTest(c.t, "tcp", netip.MustParseAddrPort(c.conn.RemoteAddr().String()))
	d.user, d.pass, d.realm, d.nonce = c.user, c.pass, c.realm, c.nonce
	return d
}

// bare is the connection after a ConnectionBind.
func (c *testClient) bare() *net.TCPConn {
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	return c.conn.(*net.TCPConn)
}

// attempt waits for a ConnectionAttempt.
func (c *testClient) attempt() (id uint32, peer netip.AddrPort) {
	c.t.Helper()
	m := c.indication(stun.MethodConnectionAttempt)
	id, err1 := m.Uint32(stun.AttrConnectionID)
	peer, err2 := m.XORAddr(stun.AttrXORPeerAddress)
	if err1 != nil || err2 != nil {
		c.t.Fatalf("attempt: %v, %v", err1, err2)
	}
	return id, peer
}

// connectTo asks for a connection and binds it.
func (c *testClient) connectTo(s *Server, peer netip.AddrPort) *net.TCPConn {
	c.t.Helper()
	m := c.ask(stun.MethodConnect, peerAt(peer))
	id, err := m.Uint32(stun.AttrConnectionID)
	if err != nil {
		c.t.Fatalf("Connect: %v, %v", codeOf(c.t, m), err)
	}
	d := c.dataConn(s)
	if got := d.code(stun.MethodConnectionBind, connectionID(id)); got != 0 {
		c.t.Fatalf("ConnectionBind: %v", got)
	}
	return d.bare()
}

var families = []struct {
	name string
	ip   netip.Addr
	want attrs
}{{"IPv4", loop4, want4}, {"IPv6", loop6, want6}}

// 16 MiB each way, compared: a peer that was called, and one that called.
func TestTCPRelayIsByteExact(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			if f.ip == loop6 {
				needIPv6(t)
			}
			s := startServer(t, nil)
			c := dialTCP(t, s)
			relayed := c.allocate(wantTCP, f.want)

			l, addr := listenPeer(t, f.ip)
			near := c.connectTo(s, addr)
			far, err := l.AcceptTCP()
			if err != nil {
				t.Fatal(err)
			}
			if from := addrPortOf(far.RemoteAddr()); from != relayed {
				t.Errorf("the peer sees %v, want the relayed address %v", from, relayed)
			}
			exchange(t, near, far)

			if got := c.code(stun.MethodCreatePermission, peerAt(addr)); got != 0 {
				t.Fatal(got)
			}
			caller := dialPeer(t, relayed)
			id, peer := c.attempt()
			if want := addrPortOf(caller.LocalAddr()); peer != want {
				t.Errorf("attempt by %v, want %v", peer, want)
			}
			d := c.dataConn(s)
			if got := d.code(stun.MethodConnectionBind, connectionID(id)); got != 0 {
				t.Fatal(got)
			}
			exchange(t, d.bare(), caller)
			waitFor(t, "both pairs to end", func() bool { return s.Stats().DataPairs == 0 })
			var total uint64
			for _, r := range s.Stats().Relayed {
				total += r.Bytes
				if r.Mode == "copy" && r.Bytes > 0 {
					t.Logf("%d bytes were copied", r.Bytes)
				}
			}
			if total != 4*16<<20 {
				t.Errorf("counted %d bytes, want %d", total, 4*16<<20)
			}
		})
	}
}

// exchange sends 16 MiB each way at once, with a half-close at the end of each, and compares.
func exchange(t *testing.T, a, b halfCloser) {
	t.Helper()
	exchangeBytes(t, a, b, 16<<20)
}

func exchangeBytes(t *testing.T, a, b halfCloser, n int) {
	t.Helper()
	type result struct {
		sum [32]byte
		err error
	}
	run := func(conn halfCloser, seed byte) (sent [32]byte, got <-chan result) {
		data := make([]byte, n)
		rand.NewChaCha8([32]byte{seed}).Read(data)
		done := make(chan result, 1)
		go func() {
			_, err := conn.Write(data)
			if err == nil {
				err = conn.CloseWrite()
			}
			if err != nil {
				t.Errorf("write: %v", err)
			}
		}()
		go func() {
			h := sha256.New()
			_, err := io.Copy(h, conn)
			done <- result{[32]byte(h.Sum(nil)), err}
		}()
		return sha256.Sum256(data), done
	}
	sentA, gotA := run(a, 1)
	sentB, gotB := run(b, 2)
	if r := <-gotA; r.err != nil || r.sum != sentB {
		t.Errorf("a: error %v, equal %v", r.err, r.sum == sentB)
	}
	if r := <-gotB; r.err != nil || r.sum != sentA {
		t.Errorf("b: error %v, equal %v", r.err, r.sum == sentA)
	}
}

// TURN.md 106 to 108 and 114.
func TestConnectRequests(t *testing.T) {
	s := startServer(t, nil)
	c := dialTCP(t, s)
	relayed := c.allocate(wantTCP)
	l, addr := listenPeer(t, loop4)
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}()
	closed, closedAddr := listenPeer(t, loop4)
	closed.Close()
	for _, step := range []struct {
		name   string
		method stun.Method
		add    []attrs
		want   stun.ErrorCode
	}{
		{"no peer", stun.MethodConnect, nil, 400},
		{"malformed peer", stun.MethodConnect, []attrs{raw(stun.AttrXORPeerAddress, 1)}, 400},
		{"another family", stun.MethodConnect, []attrs{peerText("[::1]:1")}, 443},
		{"denied", stun.MethodConnect, []attrs{peerText("10.0.0.1:1")}, 403},
		{"port 0", stun.MethodConnect, []attrs{peerText("127.0.0.1:0")}, 403},
		{"itself", stun.MethodConnect, []attrs{peerAt(relayed)}, 403},
		{"nobody there", stun.MethodConnect, []attrs{peerAt(closedAddr)}, 447},
		{"nobody there again", stun.MethodConnect, []attrs{peerAt(closedAddr)}, 447},
		{"somebody", stun.MethodConnect, []attrs{peerAt(addr)}, 0},
		{"the same again", stun.MethodConnect, []attrs{peerAt(addr)}, 446},
		{"and again", stun.MethodConnect, []attrs{peerAt(addr)}, 446},
		{"a channel", stun.MethodChannelBind, []attrs{channel(0x4000), peerAt(addr)}, 403},
		{"the server still serves", stun.MethodRefresh, nil, 0},
	} {
		if got := c.code(step.method, step.add...); got != step.want {
			t.Errorf("%s: got %v, want %v", step.name, got, step.want)
		}
	}
	c.send(sendIndication([]byte("x"), peerAt(addr)))
	c.send(channelData(0x4000, []byte("x")))
	c.silent()
	if got := s.Stats().Drops["wrong_kind"]; got != 2 {
		t.Errorf("%d dropped as of the wrong kind, want 2", got)
	}
	udp := dialTCP(t, s)
	udp.allocate(wantUDP)
	if got := udp.code(stun.MethodConnect, peerAt(addr)); got != stun.CodeBadRequest {
		t.Errorf("Connect on a UDP allocation: got %v, want 400", got)
	}
}

// TURN.md 107: a Connect that takes long holds up nothing, and ends with its allocation.
func TestSlowConnect(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a backlog to overflow")
	}
	s := startServer(t, nil)
	c := dialTCP(t, s)
	c.allocate(wantTCP)
	full := fullListener(t)
	c.send(c.build(stun.MethodConnect, peerAt(full)))
	if got := c.code(stun.MethodRefresh); got != 0 {
		t.Errorf("Refresh meanwhile: %v", got)
	}
	if got := c.code(stun.MethodConnect, peerAt(full)); got != stun.CodeConnectionExists {
		t.Errorf("the same Connect meanwhile: got %v, want 446", got)
	}
	if got := c.code(stun.MethodCreatePermission, peerAt(full)); got != 0 {
		t.Errorf("CreatePermission meanwhile: %v", got)
	}
	// That Serve ends although it still dials is checked when the test ends.
}

// fullListener is an address that neither accepts nor refuses.
func fullListener(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrPortFrom(loop4, uint16(sa.(*syscall.SockaddrInet4).Port))
	for range 4 { // fill the backlog
		dialer := net.Dialer{Timeout: 100 * time.Millisecond}
		if conn, err := dialer.Dial("tcp", addr.String()); err == nil {
			t.Cleanup(func() { conn.Close() })
		}
	}
	return addr
}
