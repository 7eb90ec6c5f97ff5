package dtlsserver

import (
	"bytes"
	"crypto/sha256"
	"net/netip"
	"testing"
	"time"
)

// pair returns both ends of a session.
func pair(t testing.TB) (client, server *Session) {
	t.Helper()
	ours, theirs := &Session{repeats: maxRepeats}, &Session{}
	master, randoms := make([]byte, 48), make([]byte, 32)
	s := suite{0xc02b, false, 16, sha256.New}
	in, out := newHalves(s, master, randoms, randoms)
	ours.in, ours.out, theirs.out, theirs.in = in, out, in, out
	return theirs, ours
}

func TestReplay(t *testing.T) {
	client, server := pair(t)
	var records [][]byte
	for i := range 100 {
		records = append(records, client.Seal(nil, []byte{byte(i)}))
	}
	for _, c := range []struct {
		number int
		taken  bool
	}{
		{0, true},
		{0, false},
		{2, true},
		{1, true},
		{1, false},
		{2, false},
		{66, true},
		{2, false},
		{3, true},
		{3, false},
		{65, true},
		{99, true},
		{35, false},
		{36, true},
		{99, false},
		{98, true},
	} {
		kind, content, rest := server.Next(bytes.Clone(records[c.number]))
		if got := kind == Data; got != c.taken || got && (content[0] != byte(c.number) || len(rest) != 0) {
			t.Errorf("record %d: taken %v, want %v", c.number, got, c.taken)
		}
	}
}

func TestForged(t *testing.T) {
	client, server := pair(t)
	good := client.Seal(nil, []byte("content"))
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 0x10
		if kind, _, _ := server.Next(b); kind != Nothing {
			t.Errorf("byte %d changed: got %v", i, kind)
		}
	}
	plain := append(appendRecordHeader(nil, typeAlert, version12, 0, 5, 2), alertFatal, alertCloseNotify)
	if kind, _, _ := server.Next(plain); kind != Nothing {
		t.Errorf("an alert that anybody can send: got %v", kind)
	}
	if kind, content, _ := server.Next(good); kind != Data || string(content) != "content" {
		t.Errorf("the record itself: got %v %q", kind, content)
	}
	if kind, _, _ := server.Next(client.SealClose(nil)); kind != Closed {
		t.Errorf("close_notify: got %v", kind)
	}
}

func TestSeal(t *testing.T) {
	client, server := pair(t)
	two := client.Seal(client.Seal(nil, []byte("one")), make([]byte, MaxContent))
	kind, content, rest := server.Next(two)
	if kind != Data || string(content) != "one" {
		t.Errorf("got %v %q", kind, content)
	}
	if kind, content, rest = server.Next(rest); kind != Data || len(content) != MaxContent || len(rest) != 0 {
		t.Errorf("got %v and %d bytes", kind, len(content))
	}
	if got := client.Seal(nil, make([]byte, MaxContent+1)); got != nil {
		t.Error("a record that is too long")
	}
	client.next = maxSequence + 1
	if got := client.Seal(nil, nil); got != nil {
		t.Error("a record without a number")
	}
}

func TestSessionAllocatesNothing(t *testing.T) {
	client, server := pair(t)
	buf, content := make([]byte, 0, 2048), make([]byte, 1200)
	if n := testing.AllocsPerRun(100, func() {
		if kind, _, _ := server.Next(client.Seal(buf, content)); kind != Data {
			t.Fatal("not taken")
		}
	}); n != 0 {
		t.Errorf("%v allocations a record, want 0", n)
	}
}

// flood is a ClientHello as a spoofed flood has it.
func clientHello(cookie []byte) []byte {
	body := append([]byte{0xfe, 0xfd}, make([]byte, 32)...)
	body = append(body, 0, byte(len(cookie)))
	body = append(body, cookie...)
	body = append(body, 0, 2, 0xc0, 0x2b, 1, 0)
	b := appendRecordHeader(nil, typeHandshake, version10, 0, 7, messageHeader+len(body))
	b = appendMessageHeader(b, msgClientHello, 0, len(body), 0, len(body))
	return append(b, body...)
}

func TestGate(t *testing.T) {
	g, now := NewGate(), time.Unix(1e9, 0)
	from := netip.MustParseAddrPort("192.0.2.1:5000")
	verdict, answer := g.Check(now, from, clientHello(nil), nil)
	if verdict != NoCookie || len(answer) > len(clientHello(nil)) {
		t.Fatalf("got %v and %d bytes", verdict, len(answer))
	}
	if r, _, _ := parseRecord(answer); r.sequence != 7 {
		t.Errorf("answer is record %d, want the client's 7", r.sequence)
	}
	cookie := answer[len(answer)-cookieLen:]
	other := bytes.Clone(cookie)
	other[3]++
	for _, c := range []struct {
		name   string
		after  time.Duration
		from   string
		cookie []byte
		want   Verdict
	}{
		{"its own", 0, "192.0.2.1:5000", cookie, Proven},
		{"a little later", cookieTime, "192.0.2.1:5000", cookie, Proven},
		{"too late", 2 * cookieTime, "192.0.2.1:5000", cookie, NoCookie},
		{"from another port", 0, "192.0.2.1:5001", cookie, NoCookie},
		{"from another address", 0, "192.0.2.2:5000", cookie, NoCookie},
		{"another cookie", 0, "192.0.2.1:5000", other, NoCookie},
		{"a long one", 0, "192.0.2.1:5000", make([]byte, 255), NoCookie},
	} {
		if got, _ := g.Check(now.Add(c.after), netip.MustParseAddrPort(c.from), clientHello(c.cookie), nil); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// A client that tries DTLS 1.0 first is told at once that it is not spoken, and kept no more than others.
func TestOldVersion(t *testing.T) {
	b := clientHello(nil)
	b[recordHeader+messageHeader+1] = 0xff
	verdict, answer := NewGate().Check(time.Now(), netip.MustParseAddrPort("192.0.2.1:5000"), b, nil)
	r, _, ok := parseRecord(answer)
	if verdict != NoCookie || !ok || r.kind != typeAlert || !bytes.Equal(r.body, []byte{alertFatal, alertProtocolVersion}) {
		t.Errorf("got %v, %x", verdict, answer)
	}
	if _, err := Begin(ecdsaConfig(t), b); err == nil {
		t.Error("a handshake of DTLS 1.0")
	}
}

func TestGateAllocatesNothing(t *testing.T) {
	g, now, hello, buf := NewGate(), time.Now(), clientHello(make([]byte, cookieLen)), make([]byte, 0, 64)
	ip := netip.MustParseAddr("198.51.100.1")
	if n := testing.AllocsPerRun(10_000, func() {
		ip = ip.Next()
		if verdict, _ := g.Check(now, netip.AddrPortFrom(ip, 99), hello, buf); verdict != NoCookie {
			t.Fatal("proven")
		}
	}); n != 0 {
		t.Errorf("%v allocations a spoofed hello, want 0", n)
	}
}

// FuzzDatagram gives what comes to every stage. Its property: no stage panics, and none takes what is not sealed.
func FuzzDatagram(f *testing.F) {
	client, _ := pair(f)
	f.Add(clientHello(nil))
	f.Add(clientHello(make([]byte, cookieLen)))
	f.Add(client.Seal(nil, []byte("x")))
	f.Add(appendMessageHeader(appendRecordHeader(nil, typeHandshake, version12, 0, 1, messageHeader), msgClientKeyExchange, 1, 0, 0, 0))
	config := ecdsaConfig(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, server := pair(t)
		NewGate().Check(time.Now(), netip.MustParseAddrPort("192.0.2.1:1"), b, nil)
		if h, err := Begin(config, b); err == nil {
			if s, _, _, _ := h.Take(b); s != nil {
				t.Fatal("a session out of one datagram")
			}
		}
		for rest := b; len(rest) > 0; {
			_, _, rest = server.Next(rest)
		}
	})
}
