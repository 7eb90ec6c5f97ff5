package turn

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

// A peer that never reads stops its client, by TCP, and nobody else: nothing grows here, other connections of the allocation
// go on, and the allocation's end frees both.
func TestPeerThatNeverReads(t *testing.T) {
	for _, secured := range []bool{false, true} {
		t.Run(map[bool]string{false: "TCP", true: "TLS"}[secured], func(t *testing.T) {
			s := startTLS(t, t.TempDir(), nil)
			var client net.Conn
			var peer *net.TCPConn
			if secured {
				client, _, peer = dataOverTLS(t, s, "")
			} else {
				c := dialTCP(t, s)
				c.allocate(wantTCP)
				l, addr := listenPeer(t, loop4)
				client = c.connectTo(s, addr)
				var err error
				if peer, err = l.AcceptTCP(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { peer.Close() })
				defer func() { // the same allocation's next connection
					l2, addr2 := listenPeer(t, loop4)
					near := c.connectTo(s, addr2)
					far, err := l2.AcceptTCP()
					if err != nil {
						t.Fatal(err)
					}
					exchangeBytes(t, near, far, 1<<20)
				}()
			}
			_ = client.SetWriteDeadline(time.Now().Add(time.Second))
			sent, err := client.Write(make([]byte, 128<<20))
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("the client was not stopped: %d bytes, %v", sent, err)
			}
			if s.Stats().DataPairs != 1 {
				t.Errorf("%d pairs, want the one", s.Stats().DataPairs)
			}
			// Its last word, though it read nothing.
			_ = client.SetReadDeadline(time.Now().Add(patience))
			if _, err := peer.Write([]byte("back")); err != nil {
				t.Fatal(err)
			}
			if n, err := client.Read(make([]byte, 4)); n == 0 {
				t.Errorf("the other direction: %v", err)
			}
			client.Close()
			peer.Close()
			waitFor(t, "the pair to end", func() bool { return s.Stats().DataPairs == 0 })
		})
	}
}

// A client that floods a stream with ChannelData of every length, padded as it should be: each frame is relayed or counted as
// dropped, and others are served meanwhile.
func TestStreamFlood(t *testing.T) {
	s := startServer(t, nil)
	flooder, other, peer := dialTCP(t, s), dialTCP(t, s), newPeer(t, loop4)
	flooder.allocate()
	other.allocate()
	if got := flooder.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); got != 0 {
		t.Fatal(got)
	}
	if got := flooder.code(stun.MethodCreatePermission, peerAt(netip.AddrPortFrom(loop4, 9))); got != 0 {
		t.Fatal(got)
	}
	const rounds = 400
	var burst []byte
	const frames = 100
	for i := range frames {
		burst = append(burst, channelData(0x4000, make([]byte, i*10))...)
	}
	done := make(chan error, 1)
	go func() {
		_ = flooder.conn.SetWriteDeadline(time.Now().Add(patience))
		for range rounds {
			if _, err := flooder.conn.Write(burst); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 20 {
		if got := other.code(stun.MethodRefresh); got != 0 {
			t.Fatalf("another client's Refresh: %v", got)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	waitFor(t, "every frame to be relayed or counted", func() bool {
		st := s.Stats()
		var packets uint64
		for _, r := range st.Relayed {
			if r.Dir == "up" {
				packets += r.Packets
			}
		}
		return packets+st.Drops["send_failed"] >= rounds*frames
	})
	if got := flooder.code(stun.MethodRefresh); got != 0 {
		t.Errorf("the flooder's own Refresh: %v", got)
	}
}
