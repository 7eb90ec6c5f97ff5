package udp

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"
)

// TestToward: what the peer sends comes to the second socket, what others send to the first; both send from one port, which
// nobody else gets.
func TestToward(t *testing.T) {
	for _, ip := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} {
		t.Run(ip.String(), func(t *testing.T) {
			open := func() *Conn {
				t.Helper()
				c, err := Listen(netip.AddrPortFrom(ip, 0), Options{})
				if err != nil {
					t.Skipf("MISSING: %v: %v", ip, err)
				}
				t.Cleanup(func() { c.Close() })
				return c
			}
			relay, peer, other := open(), open(), open()
			toward, err := relay.Toward(peer.LocalAddr(), Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { toward.Close() })
			if toward.LocalAddr() != relay.LocalAddr() {
				t.Errorf("address: got %v, want %v", toward.LocalAddr(), relay.LocalAddr())
			}
			var stats Stats
			in, out := NewRecvBatch(&stats), NewSendBatch(&stats)
			send := func(from *Conn, to netip.AddrPort, text string) {
				t.Helper()
				out.Add([]byte(text), Route{To: to})
				if drops := from.Send(out); drops.Total() != 0 {
					t.Fatalf("%s: dropped %+v", text, drops)
				}
			}
			want := func(at *Conn, text string, from netip.AddrPort) {
				t.Helper()
				in.Reset()
				if n, err := at.Recv(in, 1); err != nil || n != 1 { // loopback delivers within the call that sends
					t.Fatalf("%s: received %d, %v", text, n, err)
				}
				if got := string(in.Packet(0)); got != text || in.From(0) != from {
					t.Errorf("got %q from %v, want %q from %v", got, in.From(0), text, from)
				}
			}
			send(peer, relay.LocalAddr(), "of the peer")
			want(toward, "of the peer", peer.LocalAddr())
			send(other, relay.LocalAddr(), "of another")
			want(relay, "of another", other.LocalAddr())
			send(toward, peer.LocalAddr(), "to the peer")
			want(peer, "to the peer", relay.LocalAddr())
			send(relay, peer.LocalAddr(), "to the peer, by the other")
			want(peer, "to the peer, by the other", relay.LocalAddr())
			send(relay, other.LocalAddr(), "to another")
			want(other, "to another", relay.LocalAddr())
			if c, err := Listen(relay.LocalAddr(), Options{}); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("a third socket: got %v, want %v", err, syscall.EADDRINUSE)
				if c != nil {
					c.Close()
				}
			}
			toward.Close()
			send(peer, relay.LocalAddr(), "after it")
			want(relay, "after it", peer.LocalAddr())
		})
	}
	if MaxToward() < 8 {
		t.Errorf("%d sockets at once", MaxToward())
	}
}
