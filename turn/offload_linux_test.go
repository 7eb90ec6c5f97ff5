//go:build amd64 || arm64

package turn

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"traverse.internal/core/offload"
	"traverse.internal/core/stun"
	"traverse.internal/internal/netlab"
)

// kernelLab is a server between a client's and a peer's host, whose channels are relayed in the kernel.
type kernelLab struct {
	server       *Server
	relay        *offload.Relay
	client, peer *netlab.Host
}

func newKernelLab(t *testing.T, change func(*Config)) *kernelLab {
	t.Helper()
	if !netlab.Alone(t) {
		return nil
	}
	l := &kernelLab{client: netlab.NewHost(t), peer: netlab.NewHost(t)}
	l.client.Cable(t, "client", []string{"10.1.0.1/24", "fd01::1/64"}, []string{"10.1.0.2/24", "fd01::2/64"})
	l.peer.Cable(t, "peer", []string{"10.2.0.1/24", "fd02::1/64"}, []string{"10.2.0.2/24", "fd02::2/64", "10.2.0.3/24"})
	var err error
	if l.relay, err = offload.Open(offload.Config{}); err != nil {
		t.Skipf("MISSING: eBPF in this kernel: %v", err)
	}
	t.Cleanup(func() { _ = l.relay.Close() })
	l.server = startServer(t, func(c *Config) {
		c.ListenUDP = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:3478"), netip.MustParseAddrPort("[::]:3478")}
		c.RelayIP4, c.RelayIP6 = netip.MustParseAddr("10.2.0.1"), netip.MustParseAddr("fd02::1")
		c.AllowPeers = prefixes("10.0.0.0/8", "fc00::/7")
		c.Offload = l.relay
		if change != nil {
			change(c)
		}
	})
	return l
}

// offloadedChannel is one from a client to a peer, past the server.
type offloadedChannel struct {
	*kernelLab
	client  *testClient
	peer    *testPeer
	relayed netip.AddrPort
}

func (l *kernelLab) channel(t *testing.T, v6 bool) *offloadedChannel {
	t.Helper()
	c := &offloadedChannel{kernelLab: l}
	server, peer, want := "10.1.0.1:3478", "10.2.0.2", want4
	if v6 {
		server, peer, want = "[fd01::1]:3478", "fd02::2", want6
	}
	l.client.Do(t, func() { c.client = dialTest(t, "udp", netip.MustParseAddrPort(server)) })
	l.peer.Do(t, func() { c.peer = newPeer(t, netip.MustParseAddr(peer)) })
	c.relayed = c.client.allocate(wantUDP, want)
	if code := c.client.code(stun.MethodChannelBind, channel(0x4000), peerAt(c.peer.addr)); code != 0 {
		t.Fatalf("channel: %v", code)
	}
	waitFor(t, "the channel in the kernel", func() bool { return c.session().Offloaded == 1 })
	return c
}

func (c *offloadedChannel) session() Session {
	for _, s := range c.server.Sessions() {
		if s.Relayed == c.relayed {
			return s
		}
	}
	return Session{}
}

// exact is ChannelData without padding.
func exact(number uint16, data []byte) []byte {
	return append(stun.AppendChannelDataHeader(nil, number, len(data)), data...)
}

func (c *offloadedChannel) up(t *testing.T, data []byte) {
	t.Helper()
	c.client.send(exact(0x4000, data))
	got, from := c.peer.receive()
	if !bytes.Equal(got, data) || from != c.relayed {
		t.Fatalf("up, %d bytes: got %d from %v, want them from %v", len(data), len(got), from, c.relayed)
	}
}

func (c *offloadedChannel) down(t *testing.T, data []byte) {
	t.Helper()
	c.peer.send(c.relayed, data)
	if got := c.client.frame(); !bytes.Equal(got, exact(0x4000, data)) {
		t.Fatalf("down, %d bytes: got %d, want %d", len(data), len(got), len(data)+4)
	}
}

// kernelPackets is what the kernel has relayed, in both directions and families.
func (l *kernelLab) kernelPackets() (n uint64) {
	for _, r := range l.relay.Stats().Relayed {
		n += r.Packets
	}
	return n
}

// TestOffloadIsExact sends random sizes both ways. The kernel takes all but the shortest, and every byte is counted once.
func TestOffloadIsExact(t *testing.T) {
	for _, name := range []string{"IPv4", "IPv6", "IPv4, shared", "IPv6, shared"} {
		t.Run(name, func(t *testing.T) {
			family, _, shared := strings.Cut(name, ", ")
			l := newKernelLab(t, func(c *Config) {
				if shared {
					c.RelayMode, c.Shards, c.PortMin, c.PortMax = RelayShared, 1, 40000, 40000
				}
			})
			if l == nil {
				return
			}
			c := l.channel(t, family == "IPv6")
			const rounds = 300
			var sent, short uint64
			for range rounds {
				data := make([]byte, rand.IntN(1444)) // with all headers within 1500 over IPv6
				for i := range data {
					data[i] = byte(rand.Uint32())
				}
				c.up(t, data)
				c.down(t, data)
				sent += uint64(len(data))
				if len(data) < 4 {
					short++
				}
			}
			if got := l.kernelPackets(); got != 2*(rounds-short) {
				t.Errorf("in the kernel: got %d, want %d; left: %v", got, 2*(rounds-short), l.relay.Stats().Left)
			}
			waitFor(t, "the session's counts", func() bool {
				s := c.session()
				return s.PacketsUp == rounds && s.PacketsDown == rounds && s.BytesUp == sent && s.BytesDown == sent
			})
			var batch, tc RelayCount
			for _, r := range l.server.Stats().Relayed {
				sum := map[string]*RelayCount{"batch": &batch, "tc": &tc}[r.Mode]
				if sum != nil {
					sum.Packets, sum.Bytes = sum.Packets+r.Packets, sum.Bytes+r.Bytes
				}
			}
			if tc.Packets != 2*(rounds-short) || batch.Packets != 2*short || tc.Bytes+batch.Bytes != 2*sent {
				t.Errorf("by mode: got tc %+v, batch %+v; sent %d of %d bytes, %d short", tc, batch, 2*rounds, 2*sent, 2*short)
			}
		})
	}
}

// TestOffloadLeavesChecksumsToDevices: on cables where senders leave the checksum to the device nothing is relayed in the
// kernel, and nothing is lost.
func TestOffloadLeavesChecksumsToDevices(t *testing.T) {
	l := newKernelLab(t, nil)
	if l == nil {
		return
	}
	l.client.Do(t, func() { netlab.Checksums(t, "eth0", true) })
	l.peer.Do(t, func() { netlab.Checksums(t, "eth0", true) })
	c := l.channel(t, false)
	for size := range 300 {
		c.up(t, bytes.Repeat([]byte{byte(size)}, size))
		c.down(t, bytes.Repeat([]byte{byte(size)}, size))
	}
	if got, left := l.kernelPackets(), l.relay.Stats().Left["checksum"]; got != 0 || left < 500 {
		t.Errorf("in the kernel: got %d, and %d left; want none", got, left)
	}
}

// stopped says that what is sent now does not pass the kernel, and is dropped in user space for one of the reasons.
func (c *offloadedChannel) stopped(t *testing.T, reasons ...string) {
	t.Helper()
	dropped := func() (n uint64) {
		for _, r := range reasons {
			n += c.server.Stats().Drops[r]
		}
		return n
	}
	packets, drops := c.kernelPackets(), dropped()
	c.client.send(exact(0x4000, []byte("too late")))
	waitFor(t, "a drop in user space: "+strings.Join(reasons, ", "), func() bool { return dropped() == drops+1 })
	c.peer.send(c.relayed, []byte("too late"))
	c.client.silent()
	if got := c.kernelPackets(); got != packets {
		t.Errorf("the kernel relayed %d packets after the end", got-packets)
	}
}

// TestOffloadStops at once, whatever ends the flow.
func TestOffloadStops(t *testing.T) {
	for _, end := range []struct {
		name string
		do   func(*testing.T, *offloadedChannel)
		drop []string
	}{
		{"a tightened rule", func(t *testing.T, c *offloadedChannel) {
			if _, err := c.server.Reload(configOf(c.server, func(c *Config) { c.DenyPeers = prefixes("10.2.0.2/32") })); err != nil {
				t.Fatal(err)
			}
		}, []string{"unbound_channel"}},
		{"a killed session", func(t *testing.T, c *offloadedChannel) {
			if !c.server.Kill(c.session().ID) {
				t.Fatal("there is no session")
			}
		}, []string{"no_allocation"}},
		{"the client", func(t *testing.T, c *offloadedChannel) {
			if code := c.client.code(stun.MethodRefresh, lifetime(0)); code != 0 {
				t.Fatal(code)
			}
		}, []string{"no_allocation"}},
		{"the permission's time", func(t *testing.T, c *offloadedChannel) {
			before := c.session()
			c.server.skew.Add(int64(301 * time.Second))
			waitFor(t, "the end in the kernel", func() bool { return c.relay.Stats().Flows == 0 })
			if before.Offloaded != 1 {
				t.Fatalf("before: %+v", before)
			}
		}, []string{"no_permission", "unbound_channel"}},
	} {
		t.Run(end.name, func(t *testing.T) {
			l := newKernelLab(t, nil)
			if l == nil {
				return
			}
			c := l.channel(t, false)
			for range 3 {
				c.up(t, []byte("in time"))
				c.down(t, []byte("in time"))
			}
			if got := l.kernelPackets(); got != 6 {
				t.Fatalf("in the kernel: got %d, want 6; left: %v", got, l.relay.Stats().Left)
			}
			end.do(t, c)
			c.stopped(t, end.drop...)
			waitFor(t, "an empty table", func() bool { return l.relay.Stats().Flows == 0 })
			var up uint64
			for _, r := range l.server.Stats().Relayed {
				if r.Mode == "tc" && r.Dir == "up" {
					up += r.Bytes
				}
			}
			if want := uint64(3 * len("in time")); up != want {
				t.Errorf("counted up: got %d bytes, want %d", up, want)
			}
		})
	}
}

// TestOffloadGoesOn through a reload that does not concern it.
func TestOffloadGoesOn(t *testing.T) {
	l := newKernelLab(t, nil)
	if l == nil {
		return
	}
	c := l.channel(t, false)
	c.up(t, []byte("before"))
	if _, err := l.server.Reload(configOf(l.server, func(c *Config) { c.DenyPeers = prefixes("10.2.0.9/32") })); err != nil {
		t.Fatal(err)
	}
	c.up(t, []byte("meanwhile")) // either way
	waitFor(t, "the kernel again", func() bool {
		before := l.kernelPackets()
		c.up(t, []byte("after"))
		return l.kernelPackets() == before+1
	})
}

// TestOffloadKeepsQuotas: user space and kernel together relay no more than a user may.
func TestOffloadKeepsQuotas(t *testing.T) {
	const rate, size = 1 << 16, 1000
	l := newKernelLab(t, func(c *Config) { c.Limits.UserRate = rate })
	if l == nil {
		return
	}
	c := l.channel(t, false)
	began := time.Now()
	data := make([]byte, size)
	var sent uint64
	relayed := func() uint64 { return c.session().BytesUp }
	end := func() bool { return c.kernelPackets() > 20 && c.server.Stats().Drops["rate"] > 100 }
	waitFor(t, "the kernel's share, and its end", func() bool {
		for range 20 {
			c.client.send(exact(0x4000, data))
			sent++
		}
		return end()
	})
	waitFor(t, "all packets", func() bool { return relayed()/size+c.server.Stats().Drops["rate"] == sent })
	// A burst at the beginning, the rate since then, and what one tick may bring too early.
	most := rate + uint64(time.Since(began).Seconds()*rate) + rate
	if got := relayed(); got > most {
		t.Errorf("relayed %d bytes in %v, want %d at most", got, time.Since(began), most)
	}
	if got := l.relay.Stats().Left["quota"]; got == 0 {
		t.Error("the kernel never left anything for want of quota")
	}
	if _, err := l.server.Reload(configOf(l.server, func(c *Config) { c.Limits.UserRate = 0 })); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the kernel without a limit", func() bool {
		before := l.kernelPackets()
		for range 50 {
			c.client.send(exact(0x4000, data))
		}
		return l.kernelPackets() == before+50
	})
}

// TestOffloadIsForUDPClients alone.
func TestOffloadIsForUDPClients(t *testing.T) {
	l := newKernelLab(t, func(c *Config) { c.ListenTCP = []netip.AddrPort{netip.MustParseAddrPort("10.1.0.1:3478")} })
	if l == nil {
		return
	}
	udp := l.channel(t, false)
	var c *testClient
	l.client.Do(t, func() { c = dialTest(t, "tcp", netip.MustParseAddrPort("10.1.0.1:3478")) })
	relayed := c.allocate()
	if code := c.code(stun.MethodChannelBind, channel(0x4000), peerAt(udp.peer.addr)); code != 0 {
		t.Fatal(code)
	}
	udp.peer.send(relayed, []byte("to a stream"))
	c.frame()
	udp.up(t, []byte("past it")) // two ticks later the other is not there either
	if got := l.relay.Stats().Flows; got != 1 {
		t.Errorf("flows: got %d, want 1", got)
	}
}
