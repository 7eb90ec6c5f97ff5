package turn

import (
	"bytes"
	"io"
	"net/netip"
	"testing"

	"traverse.internal/core/stun"
	"traverse.internal/core/udp"
)

// TURN.md 75, 78 to 80, 90, 91, 95 to 97: every size, both ways, over both transports and families.
func TestDataBothWays(t *testing.T) {
	sizes := []int{0, 1, 2, 3, 4, 5, 100, 1199, 1600, 1601, 9000, 65000}
	s := startServer(t, nil)
	for _, c := range []struct {
		name   string
		tcp    bool
		ip     netip.Addr
		family attrs
	}{
		{"UDP, IPv4", false, loop4, want4},
		{"UDP, IPv6", false, loop6, want6},
		{"TCP, IPv4", true, loop4, want4},
		{"TCP, IPv6", true, loop6, want6},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.ip == loop6 {
				needIPv6(t)
			}
			dial := dialUDP
			if c.tcp {
				dial = dialTCP
			}
			client, onChannel, inSend := dial(t, s), newPeer(t, c.ip), newPeer(t, c.ip)
			relayed := client.allocate(wantUDP, c.family)
			if got := client.code(stun.MethodChannelBind, channel(0x4000), peerAt(onChannel.addr)); got != 0 {
				t.Fatal(got)
			}
			for _, size := range sizes {
				data := bytes.Repeat([]byte{byte(size) | 1}, size)

				client.send(channelData(0x4000, data))
				if got, from := onChannel.receive(); !bytes.Equal(got, data) || from != relayed {
					t.Fatalf("channel up, %d bytes: got %d from %v", size, len(got), from)
				}
				client.send(sendIndication(data, peerAt(inSend.addr)))
				if got, from := inSend.receive(); !bytes.Equal(got, data) || from != relayed {
					t.Fatalf("send, %d bytes: got %d from %v", size, len(got), from)
				}
				onChannel.send(relayed, data)
				frame := client.frame()
				number, got, err := stun.ParseChannelData(frame)
				if err != nil || number != 0x4000 || !bytes.Equal(got, data) {
					t.Fatalf("channel down, %d bytes: got %d on %#x, %v", size, len(got), number, err)
				}
				if c.tcp && len(frame)%4 != 0 || !c.tcp && len(frame) != 4+size {
					t.Fatalf("channel down, %d bytes: a frame of %d", size, len(frame))
				}
				inSend.send(relayed, data)
				m := client.indication(stun.MethodData)
				from, _ := m.XORAddr(stun.AttrXORPeerAddress)
				if got, ok := m.Attr(stun.AttrData); !ok || !bytes.Equal(got, data) || from != inSend.addr {
					t.Fatalf("data, %d bytes: got %d from %v", size, len(got), from)
				}
			}
		})
	}
	var packets uint64
	for _, r := range s.Stats().Relayed {
		packets += r.Packets
	}
	if packets == 0 {
		t.Error("nothing counted")
	}
}

// On a stream a frame may come in pieces, or many at once.
func TestStreamFraming(t *testing.T) {
	s := startServer(t, nil)
	c, peer := dialTCP(t, s), newPeer(t, loop4)
	c.allocate()
	if got := c.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); got != 0 {
		t.Fatal(got)
	}
	var burst []byte
	for i := range 50 {
		burst = append(burst, channelData(0x4000, bytes.Repeat([]byte{byte(i)}, i))...)
	}
	for _, piece := range []int{len(burst), 1, 7, 100} {
		for rest := burst; len(rest) > 0; {
			n := min(piece, len(rest))
			c.send(rest[:n])
			rest = rest[n:]
		}
		for i := range 50 {
			if got, _ := peer.receive(); !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, i)) {
				t.Fatalf("in pieces of %d: frame %d arrived as %x", piece, i, got)
			}
		}
	}
	// The longest frame there can be neither hangs nor desynchronises; as a datagram it is too long.
	c.send(append([]byte{0x40, 0, 0xff, 0xff}, make([]byte, 65536)...))
	c.send(channelData(0x4000, []byte("after")))
	if got, _ := peer.receive(); string(got) != "after" {
		t.Errorf("after the longest frame: %q", got)
	}
}

// A channel number of RFC 5766 works on both transports; on a stream where there is none its first byte is garbage.
func TestChannelsOfRFC5766(t *testing.T) {
	s := startServer(t, nil)
	for name, c := range map[string]*testClient{"udp": dialUDP(t, s), "tcp": dialTCP(t, s)} {
		peer := newPeer(t, loop4)
		relayed := c.allocate()
		if got := c.code(stun.MethodChannelBind, channel(0x7ffe), peerAt(peer.addr)); got != 0 {
			t.Fatal(got)
		}
		b := channelData(0x7ffe, []byte("hello"))
		c.send(b[:2])
		if name == "tcp" {
			c.send(b[2:])
		} else {
			c.send(b)
		}
		if got, _ := peer.receive(); string(got) != "hello" {
			t.Errorf("%s: got %q", name, got)
		}
		peer.send(relayed, []byte("back"))
		got := make([]byte, 8)
		if _, err := io.ReadFull(c.conn, got); err != nil || string(got) != "\x7f\xfe\x00\x04back" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	c := dialTCP(t, s)
	c.allocate()
	c.send(channelData(0x7ffe, []byte("hello")))
	c.closed()
}

// What a client says before it leaves is relayed.
func TestLastWordsAreRelayed(t *testing.T) {
	s := startServer(t, nil)
	c, peer := dialTCP(t, s), newPeer(t, loop4)
	c.allocate()
	if got := c.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); got != 0 {
		t.Fatal(got)
	}
	c.send(append(channelData(0x4000, []byte("bye!")), c.build(stun.MethodRefresh, lifetime(0))...))
	if got, _ := peer.receive(); string(got) != "bye!" {
		t.Errorf("got %q", got)
	}
}

func TestTrailingBytesOnUDPAreIgnored(t *testing.T) {
	s := startServer(t, nil)
	c, peer := dialUDP(t, s), newPeer(t, loop4)
	c.allocate()
	if got := c.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); got != 0 {
		t.Fatal(got)
	}
	c.send([]byte{0x40, 0, 0, 1, 'x', 0, 0, 0})
	if got, _ := peer.receive(); string(got) != "x" {
		t.Errorf("got %q", got)
	}
}

// TURN.md 100: a client that does not read loses datagrams, and nobody else does.
func TestSlowClientLosesDatagrams(t *testing.T) {
	s := startServer(t, nil)
	slow, quick, peer := dialTCP(t, s), dialUDP(t, s), newPeer(t, loop4)
	slowRelay, quickRelay := slow.allocate(), quick.allocate()
	for _, c := range []*testClient{slow, quick} {
		if got := c.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); got != 0 {
			t.Fatal(got)
		}
	}
	flood := make([]byte, 32<<10)
	waitFor(t, "the backlog to fill", func() bool {
		for range 50 {
			peer.send(slowRelay, flood)
		}
		return s.Stats().Drops["slow_client"] > 0
	})
	peer.send(quickRelay, []byte("still here"))
	if got := quick.frame(); string(got[4:]) != "still here" {
		t.Errorf("got %q", got)
	}
	// What was queued arrives in order and whole.
	for i := range 20 {
		if number, data, err := stun.ParseChannelData(slow.frame()); err != nil || number != 0x4000 || len(data) != len(flood) {
			t.Fatalf("frame %d: %d bytes on %#x, %v", i, len(data), number, err)
		}
	}
}

// The packet path, in both directions and over the real sockets: nothing is allocated, by whichever goroutine.
func TestPacketsAllocateNothing(t *testing.T) {
	s := startServer(t, nil)
	c := dialUDP(t, s)
	relayed := c.allocate()
	peer, err := udp.Listen(netip.AddrPortFrom(loop4, 0), udp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	sender := newPeer(t, loop4)
	if got := c.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.LocalAddr())); got != 0 {
		t.Fatal(got)
	}
	if got := c.code(stun.MethodChannelBind, channel(0x4001), peerAt(sender.addr)); got != 0 {
		t.Fatal(got)
	}
	var stats udp.Stats
	poller, err := udp.NewPoller(&stats)
	if err != nil {
		t.Fatal(err)
	}
	defer poller.Close()
	if err := poller.Add(peer, peer); err != nil {
		t.Fatal(err)
	}
	in, out, ready := udp.NewRecvBatch(&stats), udp.NewSendBatch(&stats), make([]udp.Ready, 1)
	frame, data, buf := channelData(0x4000, make([]byte, 1200)), make([]byte, 1200), make([]byte, 2000)
	roundTrip := func() {
		if _, err := c.conn.Write(frame); err != nil {
			t.Fatal(err)
		}
		if _, err := poller.Wait(ready); err != nil {
			t.Fatal(err)
		}
		in.Reset()
		if _, err := peer.Recv(in, 1); err != nil || len(in.Packet(0)) != 1200 {
			t.Fatal("up", err)
		}
		out.Add(data, udp.Route{To: relayed})
		peer.Send(out)
		if n, err := c.conn.Read(buf); err != nil || n != 1204 {
			t.Fatal("down", n, err)
		}
	}
	for range 100 {
		roundTrip()
	}
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	if got := testing.AllocsPerRun(1000, roundTrip); got >= 1 {
		t.Errorf("%v allocations for a packet each way", got)
	}
}
