package turn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/turn/alloc"
)

// TURN.md 105 and 109: before the first permission the port refuses; after it, who is not permitted is closed at once.
func TestInboundPeers(t *testing.T) {
	s := startServer(t, nil)
	c := dialTCP(t, s)
	relayed := c.allocate(wantTCP)
	if conn, err := net.Dial("tcp", relayed.String()); !errors.Is(err, syscall.ECONNREFUSED) {
		if err == nil {
			conn.Close()
		}
		t.Errorf("before any permission: got %v, want a refusal", err)
	}
	if got := c.code(stun.MethodCreatePermission, peerText("127.0.0.2:0")); got != 0 {
		t.Fatal(got)
	}
	if stranger, err := net.Dial("tcp", relayed.String()); err == nil { // from 127.0.0.1
		_ = stranger.SetDeadline(time.Now().Add(patience))
		if _, err := stranger.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("a stranger: got %v, want to be closed", err)
		}
		stranger.Close()
	}
	c.silent()
	if got := c.code(stun.MethodCreatePermission, peerText("127.0.0.1:0")); got != 0 {
		t.Fatal(got)
	}
	friend := dialPeer(t, relayed)
	if _, peer := c.attempt(); peer != addrPortOf(friend.LocalAddr()) {
		t.Errorf("attempt by %v", peer)
	}
	// TURN.md 110: nobody binds it.
	s.skew.Store(int64(32 * time.Second))
	if _, err := friend.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("unbound for 30 s: got %v, want to be closed", err)
	}
	if got := c.code(stun.MethodRefresh); got != 0 {
		t.Errorf("the allocation: %v", got)
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// TURN.md 111: refusals are answers, and the peer's connection survives them.
func TestConnectionBindRefusals(t *testing.T) {
	other, _ := listenPeer(t, loop4)
	other.Close()
	s := startServer(t, func(c *Config) {
		c.ListenTCP = append(c.ListenTCP, netip.AddrPortFrom(loop4, 0))
	})
	c := dialTCP(t, s)
	relayed := c.allocate(wantTCP)
	if got := c.code(stun.MethodCreatePermission, peerText("127.0.0.1:0")); got != 0 {
		t.Fatal(got)
	}
	friend := dialPeer(t, relayed)
	id, _ := c.attempt()
	plain := func() *testClient { return c.dataConn(s) }
	for _, step := range []struct {
		name   string
		client func() *testClient
		add    []attrs
		want   stun.ErrorCode
	}{
		{"unauthenticated", func() *testClient { return dialTCP(t, s) }, []attrs{connectionID(id)}, 401},
		{"no id", plainLogin(t, s), nil, 400},
		{"short id", plainLogin(t, s), []attrs{raw(stun.AttrConnectionID, 1)}, 400},
		{"unknown id", plainLogin(t, s), []attrs{connectionID(id + 1)}, 400},
		{"unknown id with the control connection's nonce", plain, []attrs{connectionID(id + 1)}, 438},
		{"wrong password", func() *testClient { d := plain(); d.pass = "x"; return d }, []attrs{connectionID(id)}, 401},
		{"another user", func() *testClient { d := plain(); d.user, d.pass = "v", "q"; return d }, []attrs{connectionID(id)}, 441},
		{"over UDP", func() *testClient { return dialUDP(t, s).login() }, []attrs{connectionID(id)}, 400},
		{"at another listener", func() *testClient {
			d := dialTest(t, "tcp", s.TCPAddrs()[1])
			d.user, d.pass, d.realm, d.nonce = c.user, c.pass, c.realm, c.nonce
			return d
		}, []attrs{connectionID(id)}, 400},
		{"on the control connection", func() *testClient { return c }, []attrs{connectionID(id)}, 400},
		{"right at last", plain, []attrs{connectionID(id)}, 0},
		{"used", plain, []attrs{connectionID(id)}, 400},
	} {
		d := step.client()
		got := d.code(stun.MethodConnectionBind, step.add...)
		if got != step.want {
			t.Errorf("%s: got %v, want %v", step.name, got, step.want)
		}
		if step.want == 0 {
			if _, err := friend.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if got := make([]byte, 5); true {
				if _, err := io.ReadFull(d.bare(), got); err != nil || string(got) != "hello" {
					t.Errorf("got %q, %v", got, err)
				}
			}
		}
	}
}

func plainLogin(t testing.TB, s *Server) func() *testClient {
	return func() *testClient { return dialTCP(t, s).login() }
}

// TURN.md 112: nothing said too early is lost, on either side.
func TestEarlyBytesAreDelivered(t *testing.T) {
	s := startServer(t, nil)
	c := dialTCP(t, s)
	relayed := c.allocate(wantTCP)
	if got := c.code(stun.MethodCreatePermission, peerText("127.0.0.1:0")); got != 0 {
		t.Fatal(got)
	}
	early := bytes.Repeat([]byte("early "), 20_000)
	caller := dialPeer(t, relayed)
	wrote := make(chan error, 1)
	go func() {
		_, err := caller.Write(early)
		if err == nil {
			err = caller.CloseWrite()
		}
		wrote <- err
	}()
	id, _ := c.attempt()
	d := c.dataConn(s)
	pipelined := bytes.Repeat([]byte("pipelined "), 1000) // 10 kB, what looks like TLS or STUN included
	pipelined = append(pipelined, 0x16, 3, 1, 0, 0, 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42)
	d.send(append(d.build(stun.MethodConnectionBind, connectionID(id)), pipelined...))
	if m := d.answer(stun.MethodConnectionBind); codeOf(t, m) != 0 {
		t.Fatal(codeOf(t, m))
	}
	data := d.bare()
	if err := data.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(data); err != nil || !bytes.Equal(got, early) {
		t.Errorf("client: %d bytes of %d, %v", len(got), len(early), err)
	}
	if got, err := io.ReadAll(caller); err != nil || !bytes.Equal(got, pipelined) {
		t.Errorf("peer: %d bytes of %d, %v", len(got), len(pipelined), err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// TURN.md 113: a FIN goes on as a FIN; the end of the allocation ends everything at once.
func TestEndsGoOn(t *testing.T) {
	for _, end := range []struct {
		name string
		do   func(*Server, *testClient)
	}{
		{"control connection closed", func(_ *Server, c *testClient) { c.conn.Close() }},
		{"Refresh 0", func(_ *Server, c *testClient) { c.code(stun.MethodRefresh, lifetime(0)) }},
		{"lifetime over", func(s *Server, _ *testClient) { s.skew.Store(int64(602 * time.Second)) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			s := startServer(t, nil)
			c := dialTCP(t, s)
			relayed := c.allocate(wantTCP)
			l, addr := listenPeer(t, loop4)
			near := c.connectTo(s, addr)
			far, err := l.AcceptTCP()
			if err != nil {
				t.Fatal(err)
			}
			_ = far.SetDeadline(time.Now().Add(patience))
			if err := near.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if _, err := far.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("far: got %v, want EOF", err)
			}
			if _, err := far.Write([]byte("half open")); err != nil {
				t.Fatal(err)
			}
			if got := make([]byte, 9); true {
				if _, err := io.ReadFull(near, got); err != nil || string(got) != "half open" {
					t.Errorf("near: got %q, %v", got, err)
				}
			}
			if got := c.code(stun.MethodCreatePermission, peerText("127.0.0.1:0")); got != 0 {
				t.Fatal(got)
			}
			waiting := dialPeer(t, relayed)
			c.attempt()

			end.do(s, c)
			for name, conn := range map[string]*net.TCPConn{"near": near, "waiting": waiting} {
				if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
					t.Errorf("%s: got %v, want the end", name, err)
				}
			}
			waitFor(t, "the relayed port to refuse", func() bool {
				conn, err := net.Dial("tcp", relayed.String())
				if err == nil {
					conn.Close()
				}
				return errors.Is(err, syscall.ECONNREFUSED)
			})
		})
	}
}

// Two clients that relay to each other, as turnutils_uclient -T does.
func TestRelayToRelay(t *testing.T) {
	s := startServer(t, nil)
	a, b := dialTCP(t, s), dialTCP(t, s)
	relayedA, relayedB := a.allocate(wantTCP), b.allocate(wantTCP)
	if got := b.code(stun.MethodCreatePermission, peerAt(relayedA)); got != 0 {
		t.Fatal(got)
	}
	m := a.ask(stun.MethodConnect, peerAt(relayedB))
	idA, err := m.Uint32(stun.AttrConnectionID)
	if err != nil {
		t.Fatalf("Connect: %v", codeOf(t, m))
	}
	idB, peer := b.attempt()
	if peer != relayedA {
		t.Errorf("attempt by %v, want %v", peer, relayedA)
	}
	dataA, dataB := a.dataConn(s), b.dataConn(s)
	for _, d := range []struct {
		c  *testClient
		id uint32
	}{{dataA, idA}, {dataB, idB}} {
		if got := d.c.code(stun.MethodConnectionBind, connectionID(d.id)); got != 0 {
			t.Fatal(got)
		}
	}
	exchange(t, dataA.bare(), dataB.bare())
}

func TestConnectionsHaveALimit(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Limits = alloc.Limits{Conns: 2} })
	c := dialTCP(t, s)
	relayed := c.allocate(wantTCP)
	if got := c.code(stun.MethodCreatePermission, peerText("127.0.0.1:0")); got != 0 {
		t.Fatal(got)
	}
	for range 2 {
		dialPeer(t, relayed)
		c.attempt()
	}
	if third, err := net.Dial("tcp", relayed.String()); err == nil { // or it is reset at once
		_ = third.SetDeadline(time.Now().Add(patience))
		if _, err := third.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("a third: got %v, want to be closed", err)
		}
		third.Close()
	}
	if got := c.code(stun.MethodConnect, peerText("127.0.0.1:9")); got != stun.CodeInsufficientCapacity {
		t.Errorf("Connect: got %v, want 508", got)
	}
}
