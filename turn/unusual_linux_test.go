//go:build amd64 || arm64

package turn

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"traverse.internal/core/stun"
	"traverse.internal/internal/netlab"
)

// unusual are the datagrams that the kernel leaves to this process, and why: what it counts them under.
var unusual = []struct {
	name    string
	size    int
	padding int
	options bool   // of IP, in the client's packets
	left    string // of them up
}{
	{name: "ordinary", size: 100},
	{name: "empty", left: "shape"},
	{name: "a byte", size: 1, left: "shape"},
	{name: "three bytes", size: 3, left: "shape"},
	{name: "padded", size: 9, padding: 3, left: "shape"},
	{name: "IP options", size: 100, options: true, left: "options"},
	{name: "longer than the peer's link", size: 1390, left: "mtu"},
	{name: "in fragments", size: 3000, left: "fragment"},
	{name: "in many fragments", size: 40_000, left: "fragment"},
}

// TestUnusualDatagrams: whatever a datagram is like, and whoever relays, it arrives whole, is counted once, and never passes a
// permission that has ended.
func TestUnusualDatagrams(t *testing.T) {
	for _, c := range []struct {
		name   string
		kernel bool
		mode   RelayMode
	}{{"in user space", false, RelayPort}, {"past it", true, RelayPort}, {"shared, in user space", false, RelayShared}, {"shared, past it", true, RelayShared}} {
		t.Run(c.name, func(t *testing.T) {
			l := newKernelLab(t, func(config *Config) {
				config.RelayMode = c.mode
				if !c.kernel {
					config.Offload = nil
				}
			})
			if l == nil {
				return
			}
			l.peer.Run(t, "sh", "-c", "for i in $(ls /sys/class/net); do [ $i = lo ] || ip link set $i mtu 1300; done")
			netlab.Run(t, "ip", "link", "set", "peer", "mtu", "1300")
			l.relay.Sweep() // within a second by itself
			unusualDatagrams(t, l, c.kernel)
		})
	}
}

func unusualDatagrams(t *testing.T, l *kernelLab, kernel bool) {
	var client *testClient
	var peer *testPeer
	l.client.Do(t, func() { client = dialTest(t, "udp", netip.MustParseAddrPort("10.1.0.1:3478")) })
	l.peer.Do(t, func() { peer = newPeer(t, netip.MustParseAddr("10.2.0.2")) })
	relayed := client.allocate()
	if code := client.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); code != 0 {
		t.Fatal(code)
	}
	session := func() Session { return l.server.Sessions()[0] }
	if kernel {
		waitFor(t, "the channel in the kernel", func() bool { return session().Offloaded == 1 })
	}
	for i, c := range unusual {
		data := bytes.Repeat([]byte{byte(i + 1)}, c.size)
		before := l.relay.Stats().Left[c.left]
		setOptions(t, client.conn.(*net.UDPConn), c.options)
		client.send(append(exact(0x4000, data), make([]byte, c.padding)...))
		if got, from := peer.receive(); !bytes.Equal(got, data) || from != relayed {
			t.Errorf("%s, up: %d bytes from %v, want %d from %v", c.name, len(got), from, len(data), relayed)
		}
		peer.send(relayed, data)
		if got := payload(t, client.frame()); !bytes.Equal(got, data) {
			t.Errorf("%s, down: %d bytes, want %d", c.name, len(got), len(data))
		}
		if got := l.relay.Stats().Left[c.left]; kernel && c.left != "" && got == before {
			t.Errorf("%s: the kernel counts nothing as %s: %v", c.name, c.left, l.relay.Stats().Left)
		}
	}
	setOptions(t, client.conn.(*net.UDPConn), false)
	want := uint64(len(unusual))
	waitFor(t, "the counts", func() bool { s := session(); return s.PacketsUp == want && s.PacketsDown == want })

	// Shorter than it says: nobody relays that.
	client.send(exact(0x4000, make([]byte, 50))[:40])
	waitFor(t, "it to be counted", func() bool { return l.server.Stats().Drops["garbage"] == 1 })

	// The peer's interface goes and comes.
	netlab.Run(t, "ip", "link", "set", "peer", "down")
	l.relay.Sweep()
	client.send(exact(0x4000, []byte("to nowhere")))
	waitFor(t, "what cannot be sent to be counted", func() bool { return l.server.Stats().Drops["send_failed"] == 1 })
	netlab.Run(t, "ip", "link", "set", "peer", "up")
	l.relay.Sweep()
	client.send(exact(0x4000, []byte("to somewhere")))
	if got, _ := peer.receive(); string(got) != "to somewhere" {
		t.Errorf("got %q", got)
	}

	// Without a permission none of them passes.
	passed := want + 2 // with what was sent while the interface was gone
	waitFor(t, "the counts", func() bool { return session().PacketsUp == passed })
	l.server.skew.Store(int64(301 * time.Second))
	if kernel {
		waitFor(t, "the flow to leave the kernel", func() bool { return session().Offloaded == 0 })
	}
	for _, c := range unusual {
		setOptions(t, client.conn.(*net.UDPConn), c.options)
		client.send(append(exact(0x4000, make([]byte, c.size)), make([]byte, c.padding)...))
		peer.send(relayed, make([]byte, c.size))
	}
	waitFor(t, "them to be dropped", func() bool { return l.server.Stats().Drops["no_permission"] == 2*want })
	if got := session(); got.PacketsUp != passed || got.PacketsDown != want {
		t.Errorf("%d up and %d down, want %d: some passed without a permission", got.PacketsUp, got.PacketsDown, passed)
	}
}

// A client that floods, with what is relayed and with what is not, is in nobody's way for good: others are served meanwhile,
// and what it sends is counted.
func TestAFloodingClient(t *testing.T) {
	for name, mode := range map[string]RelayMode{"a port each": RelayPort, "shared": RelayShared} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, func(c *Config) { c.Shards, c.RelayMode = 1, mode })
			flooder, flood := dialSocket(t, s.UDPAddrs()[0], false)
			flooder.allocate()
			mute, peer := newPeer(t, loop4), newPeer(t, loop4)
			if got := flooder.code(stun.MethodChannelBind, channel(0x4000), peerAt(mute.addr)); got != 0 {
				t.Fatal(got)
			}
			client := dialUDP(t, s)
			relayed := client.allocate()
			if got := client.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); got != 0 {
				t.Fatal(got)
			}
			unsigned := stun.New(nil, stun.MethodAllocate.Request(), stun.NewTransactionID())
			burst := [][]byte{
				channelData(0x4000, make([]byte, 1200)), channelData(0x4001, make([]byte, 1200)),
				{0x40},
				[]byte("garbage"),
				sendIndication(make([]byte, 500), peerText("127.0.0.2:9")), unsigned.Bytes(),
			}
			for round := range 100 {
				for range 20 {
					flood.send(s.UDPAddrs()[0], true, burst...)
				}
				want := fmt.Sprintf("round %d", round)
				for end := time.Now().Add(patience); ; { // what meets a full queue is sent again
					client.send(channelData(0x4000, []byte(want)))
					_ = peer.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
					b := make([]byte, 100)
					n, from, err := peer.conn.ReadFromUDPAddrPort(b)
					if err == nil && from == relayed && string(b[:n]) == want {
						break
					}
					if time.Now().After(end) {
						t.Fatalf("%s does not arrive", want)
					}
				}
			}
			for _, reason := range []string{"unbound_channel", "garbage", "no_permission"} {
				if s.Stats().Drops[reason] == 0 {
					t.Errorf("nothing is counted as %s: %v", reason, s.Stats().Drops)
				}
			}
		})
	}
}

// setOptions has a socket send its packets with IP options, four that mean nothing, or without.
func setOptions(t *testing.T, conn *net.UDPConn, on bool) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	options := ""
	if on {
		options = "\x01\x01\x01\x01"
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptString(int(fd), unix.IPPROTO_IP, unix.IP_OPTIONS, options) })
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}
