package turn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

const patience = 10 * time.Second // of a test, for what must come

var (
	loop4 = netip.MustParseAddr("127.0.0.1")
	loop6 = netip.MustParseAddr("::1")
)

// startServer serves on loopback until the test ends: user u with password p, realm test, all of loopback permitted.
func startServer(t testing.TB, change func(*Config)) *Server {
	t.Helper()
	c := Config{
		ListenUDP: []netip.AddrPort{netip.AddrPortFrom(loop4, 0)},
		ListenTCP: []netip.AddrPort{netip.AddrPortFrom(loop4, 0)},
		Realm:     "test",
		Users:     map[string]string{"u": "p", "v": "q"},
		RelayIP4:  loop4, RelayIP6: loop6,
		AllowPeers: prefixes("127.0.0.0/8", "::1/128"),
	}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(patience):
			t.Error("Serve did not end")
		}
	})
	return s
}

// needIPv6 skips where loopback has only one family.
func needIPv6(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 loopback: %v", err)
	}
	l.Close()
}

// testClient speaks raw TURN. Every answer to a request that it signed must be signed, or the test fails.
type testClient struct {
	t          testing.TB
	conn       net.Conn
	stream     bool
	user, pass string
	realm      string
	nonce      []byte
	frames     [][]byte // that came while something else was waited for
	noSign     bool     // send without integrity
	sha256     bool     // sign with SHA-256
	id         stun.TransactionID
	fixedID    bool // use id again
	finger     bool // add FINGERPRINT
	stranger   bool // answers will not be signed although the requests are
}

func dialUDP(t testing.TB, s *Server) *testClient { return dialTest(t, "udp", s.UDPAddrs()[0]) }

func dialTCP(t testing.TB, s *Server) *testClient { return dialTest(t, "tcp", s.TCPAddrs()[0]) }

func dialTest(t testing.TB, network string, addr netip.AddrPort) *testClient {
	t.Helper()
	conn, err := net.Dial(network, addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &testClient{t: t, conn: conn, stream: network == "tcp", user: "u", pass: "p"}
}

// attrs adds attributes to a request.
type attrs = func(*stun.Builder)

func (c *testClient) build(method stun.Method, add ...attrs) []byte {
	if !c.fixedID {
		c.id = stun.NewTransactionID()
	}
	b := stun.New(nil, method.Request(), c.id)
	for _, a := range add {
		a(&b)
	}
	if c.nonce != nil && !c.noSign {
		b.AddText(stun.AttrUsername, c.user)
		b.AddText(stun.AttrRealm, c.realm)
		b.Add(stun.AttrNonce, c.nonce)
		key := stun.LongTermKey(c.user, c.realm, c.pass)
		if c.sha256 {
			b.AddIntegritySHA256(key)
		} else {
			b.AddIntegrity(key)
		}
	}
	if c.finger {
		b.AddFingerprint()
	}
	return b.Bytes()
}

// ask sends a request and returns the answer.
func (c *testClient) ask(method stun.Method, add ...attrs) stun.Message {
	c.t.Helper()
	c.send(c.build(method, add...))
	return c.answer(method)
}

// code is ask for who wants only the error code, 0 for success.
func (c *testClient) code(method stun.Method, add ...attrs) stun.ErrorCode {
	c.t.Helper()
	return codeOf(c.t, c.ask(method, add...))
}

func codeOf(t testing.TB, m stun.Message) stun.ErrorCode {
	t.Helper()
	if m.Type().Class == stun.ClassSuccess {
		return 0
	}
	code, _, err := m.ErrorCode()
	if err != nil {
		t.Fatalf("an error response without a code: %v", err)
	}
	return code
}

// answer waits for the answer to the last request and checks its signature.
func (c *testClient) answer(method stun.Method) stun.Message {
	c.t.Helper()
	for {
		m := c.response()
		if m.Type().Method != method || m.TransactionID() != c.id {
			continue // a late answer to something else
		}
		code := codeOf(c.t, m)
		challenged := code == stun.CodeUnauthenticated || code == stun.CodeStaleNonce
		if c.nonce != nil && !c.noSign && method != stun.MethodBinding && !challenged && !c.stranger {
			key := stun.LongTermKey(c.user, c.realm, c.pass)
			err := m.CheckIntegrity(key)
			if c.sha256 {
				err = m.CheckIntegritySHA256(key, 32)
			}
			if err != nil {
				c.t.Errorf("%v: answer %v is not signed: %v", method, code, err)
			}
		}
		if c.finger && m.CheckFingerprint() != nil {
			c.t.Errorf("%v: answer without fingerprint", method)
		}
		if challenged {
			c.learn(m)
		}
		return m
	}
}

// learn takes realm and nonce from a challenge.
func (c *testClient) learn(m stun.Message) {
	c.t.Helper()
	realm, err1 := m.Text(stun.AttrRealm)
	nonce, err2 := m.Text(stun.AttrNonce)
	if err1 != nil || err2 != nil {
		c.t.Fatalf("a challenge without realm or nonce: %v, %v", err1, err2)
	}
	c.realm, c.nonce = string(realm), bytes.Clone(nonce)
}

// login gets a nonce.
func (c *testClient) login() *testClient {
	c.t.Helper()
	if got := c.code(stun.MethodRefresh); got != stun.CodeUnauthenticated {
		c.t.Fatalf("first request: got %v, want 401", got)
	}
	return c
}

// allocate logs in and allocates, and returns the relayed address.
func (c *testClient) allocate(add ...attrs) netip.AddrPort {
	c.t.Helper()
	if c.nonce == nil {
		c.login()
	}
	if len(add) == 0 {
		add = []attrs{wantUDP}
	}
	m := c.ask(stun.MethodAllocate, add...)
	if code := codeOf(c.t, m); code != 0 {
		c.t.Fatalf("allocate: %v", code)
	}
	relayed, err := m.XORAddr(stun.AttrXORRelayedAddress)
	if err != nil {
		c.t.Fatalf("allocate: relayed address: %v", err)
	}
	return relayed
}

func (c *testClient) send(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// response returns the next STUN response, and keeps everything else for frame.
func (c *testClient) response() stun.Message {
	c.t.Helper()
	for {
		b, err := c.read()
		if err != nil {
			c.t.Fatalf("no answer: %v", err)
		}
		if m, err := stun.Parse(b); err == nil && m.Type().Class >= stun.ClassSuccess {
			return m
		}
		c.frames = append(c.frames, b)
	}
}

// frame returns the next frame that is no response: ChannelData, or an indication.
func (c *testClient) frame() []byte {
	c.t.Helper()
	if len(c.frames) > 0 {
		b := c.frames[0]
		c.frames = c.frames[1:]
		return b
	}
	b, err := c.read()
	if err != nil {
		c.t.Fatalf("no frame: %v", err)
	}
	return b
}

// indication returns the next frame, which must be an indication of the method.
func (c *testClient) indication(method stun.Method) stun.Message {
	c.t.Helper()
	m, err := stun.Parse(c.frame())
	if err != nil || m.Type() != method.Indication() {
		c.t.Fatalf("got %v %v, want a %v indication", m.Raw, err, method)
	}
	return m
}

// read returns the next datagram, or frame of a stream.
func (c *testClient) read() ([]byte, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if !c.stream {
		b := make([]byte, 1<<16)
		n, err := c.conn.Read(b)
		return b[:n], err
	}
	var b []byte
	for {
		_, need, err := stun.StreamFrameLen(b)
		if err != nil {
			return b, err
		}
		if need == 0 {
			return b, nil
		}
		at := len(b)
		b = append(b, make([]byte, need)...)
		if _, err := io.ReadFull(c.conn, b[at:]); err != nil {
			return b, err
		}
	}
}

// silent says that nothing comes: it asks something else, whose answer must be the next.
func (c *testClient) silent() {
	c.t.Helper()
	sign := c.noSign
	c.noSign = true
	c.ask(stun.MethodBinding)
	c.noSign = sign
	if len(c.frames) > 0 {
		c.t.Errorf("got %x, want silence", c.frames[0])
		c.frames = nil
	}
}

// closed says that the server ends the connection.
func (c *testClient) closed() {
	c.t.Helper()
	for {
		if _, err := c.read(); errors.Is(err, os.ErrDeadlineExceeded) {
			c.t.Error("the connection stays open")
			return
		} else if err != nil {
			return
		}
	}
}

// Attributes that many tests want.
var (
	wantUDP attrs = func(b *stun.Builder) { b.AddRequestedTransport(stun.TransportUDP) }
	wantTCP attrs = func(b *stun.Builder) { b.AddRequestedTransport(stun.TransportTCP) }
	want6   attrs = func(b *stun.Builder) { b.AddFamily(stun.AttrRequestedAddressFamily, stun.FamilyIPv6) }
	want4   attrs = func(b *stun.Builder) { b.AddFamily(stun.AttrRequestedAddressFamily, stun.FamilyIPv4) }
	even    attrs = func(b *stun.Builder) { b.AddEvenPort() }
	pair    attrs = func(b *stun.Builder) { b.AddEvenPortReserve() }
	dual    attrs = func(b *stun.Builder) { b.AddFamily(stun.AttrAdditionalAddressFamily, stun.FamilyIPv6) }
	noFrag  attrs = func(b *stun.Builder) { b.Add(stun.AttrDontFragment, nil) }
)

func lifetime(seconds uint32) attrs {
	return func(b *stun.Builder) { b.AddUint32(stun.AttrLifetime, seconds) }
}

func peerAt(addrs ...netip.AddrPort) attrs {
	return func(b *stun.Builder) {
		for _, a := range addrs {
			b.AddXORAddr(stun.AttrXORPeerAddress, a)
		}
	}
}

func peerText(text string) attrs { return peerAt(netip.MustParseAddrPort(text)) }

func channel(number uint16) attrs {
	return func(b *stun.Builder) { b.AddChannelNumber(number) }
}

func token(value []byte) attrs {
	return func(b *stun.Builder) { b.Add(stun.AttrReservationToken, value) }
}

func raw(t stun.AttrType, value ...byte) attrs {
	return func(b *stun.Builder) { b.Add(t, value) }
}

// sendIndication is a Send indication.
func sendIndication(data []byte, add ...attrs) []byte {
	b := stun.New(nil, stun.MethodSend.Indication(), stun.NewTransactionID())
	for _, a := range add {
		a(&b)
	}
	b.Add(stun.AttrData, data)
	return b.Bytes()
}

// channelData is a ChannelData message, padded as streams want it.
func channelData(number uint16, data []byte) []byte {
	b := stun.AppendChannelDataHeader(nil, number, len(data))
	b = append(b, data...)
	return append(b, make([]byte, stun.ChannelDataPadding(len(data)))...)
}

// testPeer is a UDP socket on loopback.
type testPeer struct {
	t    testing.TB
	conn *net.UDPConn
	addr netip.AddrPort
}

func newPeer(t testing.TB, ip netip.Addr) *testPeer {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &testPeer{t, conn, conn.LocalAddr().(*net.UDPAddr).AddrPort()}
}

func (p *testPeer) send(to netip.AddrPort, data []byte) {
	p.t.Helper()
	if _, err := p.conn.WriteToUDPAddrPort(data, to); err != nil {
		p.t.Fatal(err)
	}
}

func (p *testPeer) receive() ([]byte, netip.AddrPort) {
	p.t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	b := make([]byte, 1<<16)
	n, from, err := p.conn.ReadFromUDPAddrPort(b)
	if err != nil {
		p.t.Fatalf("peer: %v", err)
	}
	return b[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}
