package turn

import (
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

const (
	proxy2v4 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x10\x01\x0d\x96"
	proxy2v6 = "\r\n\r\n\x00\r\nQUIT\n\x21\x21\x00\x27" + // with three bytes more than the addresses
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\x10\x01\x0d\x96" + "\x04\x00\x00"
	proxy2Local = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
)

func TestProxyHeaders(t *testing.T) {
	for _, c := range []struct {
		name, in, want string // "": an error
	}{
		{"version 1, IPv4", "PROXY TCP4 192.0.2.1 192.0.2.2 4097 3478\r\n", "192.0.2.1:4097"},
		{"version 1, IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 4097 3478\r\n", "[2001:db8::1]:4097"},
		{"version 1, unknown", "PROXY UNKNOWN\r\n", "invalid AddrPort"},
		{"version 2, IPv4", proxy2v4, "192.0.2.1:4097"},
		{"version 2, IPv6 and more", proxy2v6, "[2001:db8::1]:4097"},
		{"version 2, a health check", proxy2Local, "invalid AddrPort"},
		{"none", "\x00\x01\x00\x00\x21\x12\xa4\x42 a binding request", ""},
		{"family and address differ", "PROXY TCP6 192.0.2.1 192.0.2.2 4097 3478\r\n", ""},
		{"no port", "PROXY TCP4 192.0.2.1 192.0.2.2 70000 3478\r\n", ""},
		{"no end", "PROXY TCP4 " + strings.Repeat("1", 200), ""},
		{"version 3", strings.Replace(proxy2v4, "\x21\x11", "\x31\x11", 1), ""},
		{"version 2, too short", strings.Replace(proxy2v4, "\x00\x0c", "\x00\x0b", 1), ""},
		{"version 2, too long", strings.Replace(proxy2v4, "\x00\x0c", "\xff\xff", 1), ""},
		{"cut off", proxy2v4[:20], ""},
	} {
		r := strings.NewReader(c.in + "rest")
		got, err := readProxy(r)
		rest, _ := io.ReadAll(r)
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%s: accepted as %v", c.name, got)
		case c.want != "" && (err != nil || got.String() != c.want || string(rest) != "rest"):
			t.Errorf("%s: got %v, %v, and left %q", c.name, got, err, rest)
		}
	}
}

func FuzzReadProxy(f *testing.F) {
	for _, seed := range []string{"PROXY TCP4 192.0.2.1 192.0.2.2 4097 3478\r\n", "PROXY UNKNOWN\r\n", proxy2v4, proxy2v6, proxy2Local} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		got, err := readProxy(r)
		if err == nil && got.IsValid() && got.Addr() != got.Addr().Unmap() {
			t.Errorf("%x gave %v", in, got)
		}
		if read := len(in) - r.Len(); read > len(proxySignature)+4+2*(16+2)+proxyExtra {
			t.Errorf("it read %d bytes", read)
		}
	})
}

// What a trusted proxy says is believed; a client of its own that says the same is a stranger with garbage.
func TestProxiedClients(t *testing.T) {
	s := startServer(t, func(c *Config) {
		c.ProxyFrom = prefixes("127.0.0.1/32")
		c.FirstMessage = 200 * time.Millisecond
	})
	c := dialTCP(t, s)
	c.send([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 4097 3478\r\n"))
	m := c.ask(stun.MethodBinding)
	if got, err := m.XORAddr(stun.AttrXORMappedAddress); err != nil || got != netip.MustParseAddrPort("192.0.2.1:4097") {
		t.Errorf("seen as %v, %v", got, err)
	}
	c.allocate()
	if got := s.Sessions()[0].Client.String(); got != "192.0.2.1:4097" {
		t.Errorf("the session's client is %s", got)
	}
	bare := dialTCP(t, s)
	bare.send(bare.build(stun.MethodBinding))
	bare.closed()
	dialTCP(t, s).closed() // silent
	waitFor(t, "the strangers to be forgotten", func() bool { return s.Stats().Strangers == 0 })

	direct := startServer(t, nil)
	liar := dialTCP(t, direct)
	liar.send([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 4097 3478\r\n"))
	liar.closed()
}
