package turn

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/logging"
	pionturn "github.com/pion/turn/v2"

	"traverse.internal/core/turnclient"
)

// pion's client over UDP and TCP: allocation, permission, Send and Data, and ChannelData once it has bound a channel.
func TestPionClient(t *testing.T) {
	s := startServer(t, nil)
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			var conn net.PacketConn
			server := s.UDPAddrs()[0].String()
			if network == "udp" {
				c, err := net.ListenPacket("udp4", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				conn = c
			} else {
				server = s.TCPAddrs()[0].String()
				c, err := net.Dial("tcp", server)
				if err != nil {
					t.Fatal(err)
				}
				conn = pionturn.NewSTUNConn(c)
			}
			defer conn.Close()
			client, err := pionturn.NewClient(&pionturn.ClientConfig{
				STUNServerAddr: server, TURNServerAddr: server, Username: "u", Password: "p", Realm: "test", Conn: conn,
				LoggerFactory: &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if err := client.Listen(); err != nil {
				t.Fatal(err)
			}
			relay, err := client.Allocate()
			if err != nil {
				t.Fatal(err)
			}
			peer := newPeer(t, loop4)
			echoThrough(t, relay, peer)
			if err := relay.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// echoThrough sends to the peer and back until a ChannelData message was used both ways.
func echoThrough(t *testing.T, relay net.PacketConn, peer *testPeer) {
	t.Helper()
	_ = relay.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 1500)
	for i := range 50 {
		want := []byte(strings.Repeat("x", 5+i*20)) // pion's stream reader waits for a ninth byte
		if _, err := relay.WriteTo(want, net.UDPAddrFromAddrPort(peer.addr)); err != nil {
			t.Fatal(err)
		}
		got, from := peer.receive()
		if !bytes.Equal(got, want) {
			t.Fatalf("up %d: got %d bytes, want %d", i, len(got), len(want))
		}
		peer.send(from, got)
		n, _, err := relay.ReadFrom(buf)
		if err != nil || !bytes.Equal(buf[:n], want) {
			t.Fatalf("down %d: got %d bytes, %v", i, n, err)
		}
	}
}

// Our own client, TCP allocations in both families.
func TestTurnclient(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			if f.ip == loop6 {
				needIPv6(t)
			}
			s := startServer(t, nil)
			ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
			defer cancel()
			family := turnclient.FamilyOf(f.ip)
			allocate := func() *turnclient.Allocation {
				client, err := turnclient.Dial(ctx, turnclient.Config{Server: s.TCPAddrs()[0], Username: "u", Password: "p"})
				if err != nil {
					t.Fatal(err)
				}
				a, err := client.Allocate(ctx, family)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { a.Close() })
				return a
			}
			a, b := allocate(), allocate()
			if a.Relayed().Addr() != f.ip {
				t.Errorf("relayed %v", a.Relayed())
			}
			if err := b.Permit(ctx, a.Relayed().Addr()); err != nil {
				t.Fatal(err)
			}
			type accepted struct {
				conn *net.TCPConn
				from netip.AddrPort
				err  error
			}
			incoming := make(chan accepted, 1)
			go func() {
				conn, from, err := b.Accept(ctx)
				incoming <- accepted{conn, from, err}
			}()
			near, err := a.Connect(ctx, b.Relayed())
			if err != nil {
				t.Fatal(err)
			}
			defer near.Close()
			far := <-incoming
			if far.err != nil || far.from != a.Relayed() {
				t.Fatalf("accepted from %v, %v; want %v", far.from, far.err, a.Relayed())
			}
			defer far.conn.Close()
			exchange(t, near, far.conn)
		})
	}
}
