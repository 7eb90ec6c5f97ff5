package ice

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

func dialTest(t *testing.T, e *Endpoint) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", netip.AddrPortFrom(lo4, e.Port()).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// closed reports whether the endpoint closes the connection, without having written anything.
func closed(t *testing.T, conn *net.TCPConn) bool {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := conn.Read(make([]byte, 1))
	return n == 0 && err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// binding returns a framed Binding request.
func binding(username string, password string) []byte {
	b := stun.New([]byte{0, 0}, stun.MethodBinding.Request(), stun.NewTransactionID())
	b.AddText(stun.AttrUsername, username)
	b.AddUint64(stun.AttrICEControlled, 1)
	b.AddIntegrity([]byte(password))
	b.AddFingerprint()
	frame := b.Bytes()
	frame[0], frame[1] = byte((len(frame)-2)>>8), byte(len(frame)-2)
	return frame
}

// TestGarbage: what strangers send to the port.
func TestGarbage(t *testing.T) {
	noGoroutines(t)
	e := listenTest(t, Config{FirstFrame: 100 * time.Millisecond})
	at := gatherTest(t, e)
	response := func() []byte {
		b := stun.New([]byte{0, 20}, stun.MethodBinding.Success(), stun.NewTransactionID())
		return b.Bytes()
	}()
	allocate := func() []byte {
		b := stun.New([]byte{0, 20}, stun.MethodAllocate.Request(), stun.NewTransactionID())
		return b.Bytes()
	}()
	for _, c := range []struct {
		name string
		send []byte
		want func(Stats) uint64
	}{
		{"HTTP", []byte("GET / HTTP/1.0\r\n\r\n"), func(s Stats) uint64 { return s.Garbage }},
		{"TLS", []byte{0x16, 3, 1, 0, 200}, func(s Stats) uint64 { return s.Garbage }},
		{"frame of 0 bytes", []byte{0, 0}, func(s Stats) uint64 { return s.Garbage }},
		{"frame of 768 bytes", []byte{3, 0, 1, 1}, func(s Stats) uint64 { return s.Garbage }},
		{"frame of zeros", make([]byte, 2+20), func(s Stats) uint64 { return s.Garbage }},
		{"zeros framed right", append([]byte{0, 20}, make([]byte, 20)...), func(s Stats) uint64 { return s.Garbage }},
		{"response", response, func(s Stats) uint64 { return s.Garbage }},
		{"TURN request", allocate, func(s Stats) uint64 { return s.Garbage }},
		{"no such attempt", binding("nobody:x", at.password), func(s Stats) uint64 { return s.Stray }},
		{"no colon", binding(at.ufrag, at.password), func(s Stats) uint64 { return s.Garbage }},
		{"wrong password", binding(at.ufrag+":x", "guess"), func(s Stats) uint64 { return s.Garbage }},
		{"nothing", nil, func(s Stats) uint64 { return s.Silent }},
		{"half a frame", []byte{0, 100, 1}, func(s Stats) uint64 { return s.Silent }},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := c.want(e.Stats())
			conn := dialTest(t, e)
			if _, err := conn.Write(c.send); err != nil {
				t.Fatal(err)
			}
			if !closed(t, conn) {
				t.Error("the connection was not closed, or something was answered")
			}
			if got := c.want(e.Stats()) - before; got != 1 {
				t.Errorf("counted %d times, want once: %+v", got, e.Stats())
			}
		})
	}

	// A right first frame is routed; garbage and early TLS behind it close the connection.
	for _, then := range []string{"GET / HTTP/1.0\r\n\r\n", "\x16\x03\x01\x00\x2a", string(binding("other:x", at.password))} {
		conn := dialTest(t, e)
		if _, err := conn.Write(append(binding(at.ufrag+":x", at.password), then...)); err != nil {
			t.Fatal(err)
		}
		if !closed(t, conn) {
			t.Errorf("%q behind a check: not closed", then)
		}
	}
	if s := e.Stats(); s.Routed != 3 || s.Crossed != 1 {
		t.Errorf("stats %+v, want 3 routed and 1 crossed", s)
	}
	b := mustConnect(t, listenTest(t, Config{}), e)
	talk(t, b, 1000)
}

// TestUnroutedLimit: a connection beyond the limit takes the place of the one that has been silent for longest.
func TestUnroutedLimit(t *testing.T) {
	noGoroutines(t)
	e := listenTest(t, Config{MaxUnrouted: 3, FirstFrame: time.Hour})
	var open []*net.TCPConn
	for i := range 3 {
		open = append(open, dialTest(t, e))
		eventually(t, "it is accepted", func() bool { return unrouted(e) == i+1 }, func() string { return "" })
	}
	fourth := dialTest(t, e)
	if !closed(t, open[0]) {
		t.Error("the oldest connection was not closed")
	}
	if s := e.Stats(); s.Evicted != 1 || s.Refused != 0 || unrouted(e) != 3 {
		t.Errorf("stats %+v with %d, want 1 evicted, 3 there", s, unrouted(e))
	}
	open[1].Close()
	eventually(t, "room", func() bool { return unrouted(e) == 2 }, func() string { return "" })
	dialTest(t, e)
	eventually(t, "five accepted", func() bool { return unrouted(e) == 3 }, func() string { return "" })
	if s := e.Stats(); s.Evicted != 1 {
		t.Errorf("stats %+v, want still 1 evicted", s)
	}
	e.Close() // with three connections that say nothing for an hour
	if !closed(t, fourth) {
		t.Error("Close left a connection open")
	}
}

// TestSilentSourcesLeaveRoom: four addresses that hold all places in silence do not keep a fifth out, nor does one that comes again and again.
func TestSilentSourcesLeaveRoom(t *testing.T) {
	e := listenTest(t, Config{FirstFrame: time.Hour})
	from := func(last byte) *net.TCPConn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, last)}}
		conn, err := d.Dial("tcp4", netip.AddrPortFrom(lo4, e.Port()).String())
		if err != nil {
			t.Skipf("needs a second loopback address: %v", err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn.(*net.TCPConn)
	}
	for source := byte(2); source < 6; source++ {
		for range maxPerSource {
			from(source)
		}
	}
	eventually(t, "no room", func() bool { return unrouted(e) == 256 }, func() string { return "" })
	honest := from(6)
	eventually(t, "the fifth is let in", func() bool { return e.Stats().Evicted == 1 }, func() string { return "" })
	for range 2 * maxPerSource { // those that were pushed out come again, and push out their own
		from(2)
	}
	eventually(t, "the others come", func() bool { return e.Stats().Accepted == 256+1+2*maxPerSource }, func() string { return "" })
	e.mu.Lock()
	mine := len(e.perSource[netip.AddrFrom4([4]byte{127, 0, 0, 6})])
	e.mu.Unlock()
	if mine != 1 || unrouted(e) != 256 {
		t.Errorf("%d places of the fifth, %d altogether; want 1 and 256", mine, unrouted(e))
	}
	mustConnect(t, listenTest(t, Config{}), e) // and whoever has something to say gets in
	honest.Close()
}

func unrouted(e *Endpoint) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.unrouted)
}

// TestPerSourceLimit: one address cannot take all the room.
func TestPerSourceLimit(t *testing.T) {
	e := listenTest(t, Config{FirstFrame: time.Hour})
	for range maxPerSource {
		dialTest(t, e)
	}
	if !closed(t, dialTest(t, e)) {
		t.Error("a connection beyond the limit was not closed")
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := d.Dial("tcp4", netip.AddrPortFrom(lo4, e.Port()).String())
	if err != nil {
		t.Skipf("needs a second loopback address: %v", err)
	}
	defer conn.Close()
	eventually(t, "the other address to be taken", func() bool { return e.Stats().Accepted == maxPerSource+2 }, func() string { return "" })
	if s := e.Stats(); s.Refused != 1 {
		t.Errorf("stats %+v, want 1 refused", s)
	}
}

// TestPortInUse: a configured port that somebody has is an error, not a silent share, though dials share it.
func TestPortInUse(t *testing.T) {
	first := listenTest(t, Config{})
	_, err := Listen(Config{Addrs: []netip.Addr{lo4}, Loopback: true, Port: first.Port()})
	if !errors.Is(err, ErrPortInUse) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, want ErrPortInUse", err)
	}
	// Also while connections from that port are open, and on the wildcard address.
	b := mustConnect(t, first, listenTest(t, Config{}))
	if _, err := Listen(Config{Loopback: true, Port: first.Port()}); !errors.Is(err, ErrPortInUse) {
		t.Errorf("wildcard: got %v, want ErrPortInUse", err)
	}
	talk(t, b, 1000)
	// And it is free again at once after Close, whatever became of its connections.
	port := first.Port()
	first.Close()
	b.close()
	again := listenTest(t, Config{Port: port})
	if again.Port() != port {
		t.Errorf("port %d, want %d", again.Port(), port)
	}
	talk(t, mustConnect(t, again, listenTest(t, Config{})), 1000)
}

func TestConfigCheck(t *testing.T) {
	relay := Relay{Server: "relay.test:3478", Username: "u"}
	for _, c := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"policy", Config{Policy: 3}, "policy"},
		{"relays", Config{Relays: []Relay{relay, relay, relay}}, "3 relays"},
		{"relay without port", Config{Relays: []Relay{{Server: "relay.test", Username: "u"}}}, "host:port"},
		{"relay without user", Config{Relays: []Relay{{Server: "relay.test:1"}}}, "user name"},
		{"loopback", Config{Addrs: []netip.Addr{lo4}}, "loopback is off"},
		{"twice", Config{Loopback: true, Addrs: []netip.Addr{lo4, netip.MustParseAddr("::ffff:127.0.0.1")}}, "twice"},
		{"unspecified", Config{Addrs: []netip.Addr{netip.IPv4Unspecified()}}, "unspecified"},
		{"not ours", Config{Addrs: []netip.Addr{netip.MustParseAddr("198.51.100.77")}}, "assign"},
	} {
		e, err := Listen(c.cfg)
		if err == nil {
			e.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error about %q", c.name, err, c.want)
		}
	}
}

// TestAttemptLimit: more attempts at once than allowed are refused, and closing one makes room.
func TestAttemptLimit(t *testing.T) {
	e := listenTest(t, Config{MaxAttempts: 2})
	one := gatherTest(t, e)
	gatherTest(t, e)
	if _, err := e.Gather(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("third: got %v, want ErrBusy", err)
	}
	one.Close()
	gatherTest(t, e)
	e.Close()
	if _, err := e.Gather(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: got %v, want ErrClosed", err)
	}
}

// TestStreamLimit: who knows the password can hold only so many connections.
func TestStreamLimit(t *testing.T) {
	noGoroutines(t)
	e := listenTest(t, Config{})
	at := gatherTest(t, e)
	frame := binding(at.ufrag+":x", at.password)
	for range maxStreams {
		if _, err := dialTest(t, e).Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all to be routed", func() bool {
		at.mu.Lock()
		defer at.mu.Unlock()
		return len(at.streams) == maxStreams
	}, func() string { return "" })
	last := dialTest(t, e)
	if _, err := last.Write(frame); err != nil {
		t.Fatal(err)
	}
	if !closed(t, last) {
		t.Error("one connection too many was not closed")
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{0x16, 3, 1})
	f.Add(binding("abcd:efgh", "password"))
	f.Add([]byte{0, 20, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := strings.NewReader(string(b))
		frame, tls, err := readFrame(r)
		read := len(b) - r.Len()
		switch {
		case err != nil:
			if errors.Is(err, io.EOF) && read != 0 {
				t.Errorf("%d bytes read, and a clean end", read)
			}
		case tls:
			if b[0] < tlsFirst || b[0] > tlsLast || len(frame) != read || read > frameHeader {
				t.Errorf("TLS: %x, %d bytes read", frame, read)
			}
		default:
			if read != frameHeader+len(frame) || len(frame) > maxFrame || len(frame) < stun.HeaderLen {
				t.Errorf("frame of %d bytes, %d read", len(frame), read)
			}
			if m, err := parseCheck(frame); err == nil {
				_, _ = addressee(m)
			}
		}
	})
}
