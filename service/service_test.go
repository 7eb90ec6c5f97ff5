package service

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"traverse.internal/identity"
)

// pipeStream is a channel for tests: one end of a TCP connection, whose reset is a reset.
type pipeStream struct {
	*net.TCPConn
	done chan struct{}
	why  string
}

func (s *pipeStream) Reset(_ uint16, why string) error {
	s.why = why
	_ = s.SetLinger(0)
	return s.Close()
}

func (s *pipeStream) CloseWithError(code uint16, why string) error { return s.Reset(code, why) }

func (s *pipeStream) Done() <-chan struct{} { return s.done }

// tcpPair is two ends of a TCP connection on loopback.
func tcpPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); other.Close() })
	return c.(*net.TCPConn), other.(*net.TCPConn)
}

// joined runs a Join between two connections and returns their far ends.
func joined(t *testing.T, ctx context.Context, o Options) (peer, program *net.TCPConn, ch *pipeStream, result chan error) {
	t.Helper()
	peer, channel := tcpPair(t)
	program, local := tcpPair(t)
	ch = &pipeStream{TCPConn: channel, done: make(chan struct{})}
	result = make(chan error, 1)
	go func() { result <- Join(ctx, ch, Conn(local), o) }()
	return peer, program, ch, result
}

// TestEachDirectionEndsByItself: a request that ends with a FIN gets its answer, to the last byte.
func TestEachDirectionEndsByItself(t *testing.T) {
	peer, program, _, result := joined(t, t.Context(), Options{Idle: time.Minute})
	request, answer := bytes.Repeat([]byte("q"), 300_000), bytes.Repeat([]byte("a"), 700_001)
	go func() { _, _ = peer.Write(request); _ = peer.CloseWrite() }()
	got, err := io.ReadAll(program)
	if err != nil || !bytes.Equal(got, request) {
		t.Fatalf("the program read %d bytes, %v; want %d and an end", len(got), err, len(request))
	}
	go func() { _, _ = program.Write(answer); _ = program.Close() }()
	if got, err = io.ReadAll(peer); err != nil || !bytes.Equal(got, answer) {
		t.Fatalf("the peer read %d bytes, %v; want %d and an end", len(got), err, len(answer))
	}
	if err := <-result; err != nil {
		t.Errorf("Join: %v", err)
	}
}

// TestACutIsNotAnEnd: what breaks on one side breaks on the other.
func TestACutIsNotAnEnd(t *testing.T) {
	peer, program, _, result := joined(t, t.Context(), Options{})
	_ = peer.SetLinger(0)
	peer.Close()
	if n, err := io.ReadAll(program); err == nil {
		t.Errorf("the program read %d bytes and a clean end of a channel that was cut", len(n))
	}
	if err := <-result; err == nil {
		t.Error("Join says that both ended well")
	}

	peer, program, ch, result := joined(t, t.Context(), Options{})
	_ = program.SetLinger(0)
	program.Close()
	if n, err := io.ReadAll(peer); err == nil {
		t.Errorf("the peer read %d bytes and a clean end of a program that died", len(n))
	}
	if err := <-result; err == nil || ch.why == "" {
		t.Errorf("Join: %v, the peer was told %q", err, ch.why)
	}
}

// TestIdleAndCancelledJoinsSayWhy: the other side is told.
func TestIdleAndCancelledJoinsSayWhy(t *testing.T) {
	_, _, ch, result := joined(t, t.Context(), Options{Idle: time.Millisecond})
	if err := <-result; !errors.Is(err, ErrIdle) || ch.why != ErrIdle.Error() {
		t.Errorf("idle: %v, told %q", err, ch.why)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("taken away"))
	_, _, ch, result = joined(t, ctx, Options{})
	if err := <-result; err == nil || ch.why != "taken away" {
		t.Errorf("cancelled: %v, told %q", err, ch.why)
	}
}

// TestNothingIsReachableUnlessExposed.
func TestNothingIsReachableUnlessExposed(t *testing.T) {
	ann, bob := identity.DeviceID{1}, identity.DeviceID{2}
	var table Table
	expose := func(name, addr string, to ...identity.DeviceID) {
		t.Helper()
		target, err := ParseTarget(addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := table.Add(Exposed{Name: name, Target: target, To: to}); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(peer identity.DeviceID, name string, addrs ...netip.Addr) (Verdict, string) {
		t.Helper()
		r, err := ParseRequest(name)
		if err != nil {
			t.Fatal(err)
		}
		lease, _, v := table.Permit(peer, r, addrs)
		if v != Granted {
			return v, ""
		}
		defer lease.Release()
		return v, lease.Network + " " + lease.Address
	}
	if v, _ := ask(ann, "service/web"); v != Denied {
		t.Errorf("of an empty table: %v", v)
	}
	expose("web", "8080")
	expose("db", "127.0.0.1:5432", ann)
	expose("lan", "10.0.0.0/8:80")
	expose("sock", "unix:/run/x.sock")
	inside, outside := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("192.0.2.1")
	for _, c := range []struct {
		what  string
		peer  identity.DeviceID
		name  string
		addrs []netip.Addr
		want  Verdict
		dial  string
	}{
		{"by name", bob, "service/web", nil, Granted, "tcp 127.0.0.1:8080"},
		{"by address", bob, "tcp/127.0.0.1:8080", nil, Granted, "tcp 127.0.0.1:8080"},
		{"another port of that host", bob, "tcp/127.0.0.1:22", nil, Denied, ""},
		{"the host by another name", bob, "tcp/localhost:8080", nil, Denied, ""},
		{"for one contact", ann, "service/db", nil, Granted, "tcp 127.0.0.1:5432"},
		{"for another contact", bob, "service/db", nil, Denied, ""},
		{"for another contact, by address", bob, "tcp/127.0.0.1:5432", nil, Denied, ""},
		{"a socket", bob, "service/sock", nil, Granted, "unix /run/x.sock"},
		{"in a range", bob, "tcp/10.1.2.3:80", nil, Granted, "tcp 10.1.2.3:80"},
		{"an IPv4 address written as IPv6", bob, "tcp/[::ffff:10.1.2.3]:80", nil, Granted, "tcp 10.1.2.3:80"},
		{"outside of it", bob, "tcp/192.0.2.1:80", nil, Denied, ""},
		{"another port in it", bob, "tcp/10.1.2.3:81", nil, Denied, ""},
		{"a name that may be in it", bob, "tcp/printer.lan:80", nil, Resolve, ""},
		{"a name that is", bob, "tcp/printer.lan:80", []netip.Addr{outside, inside}, Granted, "tcp 10.1.2.3:80"},
		{"a name that is not", bob, "tcp/printer.lan:80", []netip.Addr{outside}, Denied, ""},
		{"a name that nobody has", bob, "tcp/printer.lan:80", []netip.Addr{}, Denied, ""},
		{"a name at a port of no range", bob, "tcp/printer.lan:443", nil, Denied, ""},
		{"a range by its name", bob, "service/lan", nil, Denied, ""},
	} {
		var v Verdict
		var dial string
		if c.addrs != nil && len(c.addrs) == 0 {
			r, _ := ParseRequest(c.name)
			_, _, v = table.Permit(c.peer, r, c.addrs)
		} else {
			v, dial = ask(c.peer, c.name, c.addrs...)
		}
		if v != c.want || dial != c.dial {
			t.Errorf("%s, %s: %v %q, want %v %q", c.what, c.name, v, dial, c.want, c.dial)
		}
	}
}

// TestServiceLimits: a contact has so many connections and no more, and the service so many.
func TestServiceLimits(t *testing.T) {
	var table Table
	if err := table.Add(Exposed{Name: "web", Target: Target{Network: "tcp", Address: "127.0.0.1:1"}, PerContact: 2, Conns: 3}); err != nil {
		t.Fatal(err)
	}
	web := Request{Kind: KindService, Name: "web"}
	permit := func(id byte) (*Lease, Verdict) {
		l, _, v := table.Permit(identity.DeviceID{id}, web, nil)
		return l, v
	}
	first, _ := permit(1)
	for i, want := range []Verdict{Granted, Busy} {
		if _, v := permit(1); v != want {
			t.Errorf("connection %d of one contact: %v, want %v", i+2, v, want)
		}
	}
	for i, want := range []Verdict{Granted, Busy} {
		if _, v := permit(byte(2 + i)); v != want {
			t.Errorf("of contact %d: %v, want %v", 2+i, v, want)
		}
	}
	first.Release()
	first.Release()
	_, gone, v := table.Permit(identity.DeviceID{3}, web, nil)
	if v != Granted {
		t.Errorf("in the place of one that ended: %v", v)
	}
	if e := table.List()[0]; e.Open != 3 || e.Total != 4 {
		t.Errorf("%d open of %d, want 3 of 4", e.Open, e.Total)
	}
	if !table.Remove("web") {
		t.Error("it was not there")
	}
	<-gone // its connections are told
}

// TestFramedEndsDiffer: an end that is meant, a reason, and a program that is gone.
func TestFramedEndsDiffer(t *testing.T) {
	for _, c := range []struct {
		what string
		end  func(*Framed)
		want func(error) bool
	}{
		{"an end", func(f *Framed) { _ = f.CloseWrite() }, func(err error) bool { return err == nil }},
		{"an abort", func(f *Framed) { f.Abort(errors.New("why")) }, func(err error) bool {
			var a *AbortError
			return errors.As(err, &a) && a.Text == "why"
		}},
		{"an abort behind the end", func(f *Framed) { f.Abort(errors.New("why")) }, func(err error) bool { return err != nil }},
		{"a closed connection", func(f *Framed) { f.Close() }, func(err error) bool { return errors.Is(err, ErrCut) }},
	} {
		a, b := tcpPair(t)
		to := NewFramed(a, error.Error)
		from := NewFramed(b, error.Error)
		data := bytes.Repeat([]byte("x"), 3*maxFrame+5)
		go func() { _, _ = to.Write(data); c.end(to) }()
		got, err := io.ReadAll(from)
		if !c.want(err) || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", c.what, len(got), err)
		}
	}
}

// TestSOCKS: a client that asks as RFC 1928 says gets its connection, and a refusal as one.
func TestSOCKS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan string, 1)
	f := &Forward{Listener: l, SOCKS: true, Open: func(_ context.Context, r Request) (Stream, error) {
		asked <- r.String()
		if r.Host == "no.example" {
			return nil, refused{}
		}
		peer, channel := tcpPair(t)
		go func() { _, _ = io.Copy(peer, peer); _ = peer.CloseWrite() }()
		return &pipeStream{TCPConn: channel, done: make(chan struct{})}, nil
	}}
	ended := make(chan error, 1)
	go func() { ended <- f.Serve(ctx) }()
	for _, c := range []struct {
		request string
		asked   string
		reply   byte
	}{
		{"\x05\x01\x00\x03\x0bweb.example\x00\x50", "tcp/web.example:80", socksOK},
		{"\x05\x01\x00\x01\x7f\x00\x00\x01\x1f\x90", "tcp/127.0.0.1:8080", socksOK},
		{"\x05\x01\x00\x03\x0ano.example\x00\x50", "tcp/no.example:80", socksDenied},
		{"\x05\x02\x00\x03\x0bweb.example\x00\x50", "", socksBadCommand},
		{"\x05\x01\x00\x03\x03a/b\x00\x50", "", socksBadAddress},
	} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "\x05\x01\x00"+c.request)
		var answer [12]byte
		if _, err := io.ReadFull(conn, answer[:]); err != nil || answer[1] != 0 || answer[3] != c.reply {
			t.Errorf("%q: % x, %v; want reply %d", c.request, answer, err, c.reply)
		}
		if c.asked != "" {
			if got := <-asked; got != c.asked {
				t.Errorf("asked for %q, want %q", got, c.asked)
			}
		}
		if c.reply == socksOK {
			_, _ = io.WriteString(conn, "hello")
			_ = conn.(*net.TCPConn).CloseWrite()
			if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
				t.Errorf("came back: %q, %v", got, err)
			}
		}
		conn.Close()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

type refused struct{}

func (refused) Error() string { return "refused" }
func (refused) Denied() bool  { return true }

func TestParseListenAndTarget(t *testing.T) {
	for in, want := range map[string]string{
		"8080": "tcp 127.0.0.1:8080", "0": "tcp 127.0.0.1:0", "[::1]:1": "tcp [::1]:1", "unix:/x y": "unix /x y",
		"": "", "x": "", "70000": "", "unix:": "", "[fe80::1%eth0]:1": "",
	} {
		network, address, err := ParseListen(in)
		if got := strings.TrimSpace(network + " " + address); got != want || (err == nil) != (want != "") {
			t.Errorf("ParseListen(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for in, ok := range map[string]bool{
		"22": true, "host:22": true, "[::1]:22": true, "unix:/a": true, "10.0.0.0/8:*": true, "[fd00::]/8:22": true, "0.0.0.0/0:443": true,
		"": false, "0": false, "host": false, "host:0": false, "10.0.0.0/40:1": false, "10.0.0.0/8:0": false, "a b:1": false,
	} {
		target, err := ParseTarget(in)
		if (err == nil) != ok {
			t.Errorf("ParseTarget(%q): %v", in, err)
		}
		if again, err := ParseTarget(target.String()); ok && (err != nil || again != target) {
			t.Errorf("%q is written %q, which is %v, %v", in, target, again, err)
		}
	}
}
