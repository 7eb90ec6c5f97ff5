package udp

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

var loopbacks = []struct {
	name string
	addr netip.AddrPort
}{
	{"IPv4", netip.MustParseAddrPort("127.0.0.1:0")},
	{"IPv6", netip.MustParseAddrPort("[::1]:0")},
}

func mustListen(t testing.TB, addr netip.AddrPort) *Conn {
	t.Helper()
	c, err := Listen(addr, Options{RecvBuffer: 1 << 20, SendBuffer: 1 << 20})
	if err != nil {
		t.Skipf("no such loopback here: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// collect receives until it has n datagrams, copied.
func collect(t *testing.T, c *Conn, pool *Pool, n int) (packets [][]byte, from []netip.AddrPort) {
	t.Helper()
	stop := time.AfterFunc(10*time.Second, func() { c.Close() })
	defer stop.Stop()
	for len(packets) < n {
		in, err := c.Recv(pool)
		if err != nil {
			t.Fatalf("after %d of %d datagrams: %v", len(packets), n, err)
		}
		for i := range in.Len() {
			packets = append(packets, bytes.Clone(in.Packet(i)))
			from = append(from, in.From(i))
		}
		pool.Put(in)
	}
	return packets, from
}

func TestBatchesArriveWhole(t *testing.T) {
	sizes := []int{0, 1, 3, 4, 100, 1200, 1472, 9000, 65507}
	for _, l := range loopbacks {
		t.Run(l.name, func(t *testing.T) {
			a, b, pool := mustListen(t, l.addr), mustListen(t, l.addr), NewPool()
			out := NewSendBatch()
			for i, size := range sizes {
				out.Add(bytes.Repeat([]byte{byte(i + 1)}, size), b.LocalAddr(), netip.Addr{})
			}
			if dropped := a.Send(out); dropped != 0 || out.Len() != 0 {
				t.Fatalf("dropped %d, left %d", dropped, out.Len())
			}
			packets, from := collect(t, b, pool, len(sizes))
			for i, size := range sizes {
				if want := bytes.Repeat([]byte{byte(i + 1)}, size); !bytes.Equal(packets[i], want) {
					t.Errorf("datagram %d: %d bytes, want %d", i, len(packets[i]), size)
				}
				if from[i] != a.LocalAddr() {
					t.Errorf("datagram %d: from %v, want %v", i, from[i], a.LocalAddr())
				}
			}
		})
	}
}

func TestOneBadDestinationDropsOne(t *testing.T) {
	a, b := mustListen(t, loopbacks[0].addr), mustListen(t, loopbacks[0].addr)
	out := NewSendBatch()
	out.Add([]byte("first"), b.LocalAddr(), netip.Addr{})
	out.Add([]byte("nowhere"), netip.MustParseAddrPort("[::1]:9"), netip.Addr{}) // IPv6 from an IPv4 socket
	out.Add([]byte("last"), b.LocalAddr(), netip.Addr{})
	if dropped := a.Send(out); dropped != 1 {
		t.Errorf("dropped: got %d, want 1", dropped)
	}
	packets, _ := collect(t, b, NewPool(), 2)
	if string(packets[0]) != "first" || string(packets[1]) != "last" {
		t.Errorf("received %q", packets)
	}
}

func TestHeadersGoAroundInPlace(t *testing.T) {
	a, b, pool := mustListen(t, loopbacks[0].addr), mustListen(t, loopbacks[0].addr), NewPool()
	out := NewSendBatch()
	for range 2 {
		out.Add([]byte("body"), b.LocalAddr(), netip.Addr{})
	}
	a.Send(out)
	for seen := 0; seen < 2; {
		in, err := b.Recv(pool)
		if err != nil {
			t.Fatal(err)
		}
		for i := range in.Len() {
			frame := in.Frame(i, Headroom, Tailroom)
			if len(frame) != Headroom+4+Tailroom || cap(frame) != len(frame) {
				t.Fatalf("frame of %d bytes, capacity %d", len(frame), cap(frame))
			}
			clear(frame[:Headroom])
			clear(frame[Headroom+4:])
		}
		for i := range in.Len() {
			if got := in.Packet(i); string(got) != "body" {
				t.Errorf("a neighbour's header overwrote packet %d: %q", i, got)
			}
		}
		seen += in.Len()
		pool.Put(in)
	}
}

func TestSecondOwnerIsTold(t *testing.T) {
	for _, l := range loopbacks {
		mustListen(t, l.addr).Close()
		shards, err := ListenShards(l.addr, 3, Options{})
		if err != nil {
			t.Fatal(err)
		}
		addr := shards[0].LocalAddr()
		for name, open := range map[string]func() error{
			"alone":  func() error { _, err := Listen(addr, Options{}); return err },
			"shards": func() error { _, err := ListenShards(addr, 2, Options{}); return err },
		} {
			if err := open(); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("%s %s: got %v, want address in use", l.name, name, err)
			}
		}
		for _, c := range shards {
			if c.LocalAddr() != addr {
				t.Errorf("shard at %v, want %v", c.LocalAddr(), addr)
			}
			c.Close()
		}
	}
}

func TestASenderMeetsOneShard(t *testing.T) {
	shards, err := ListenShards(loopbacks[0].addr, 2, Options{})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan [2]any, 1000)
	for i, c := range shards {
		go func() {
			pool := NewPool()
			for {
				in, err := c.Recv(pool)
				if err != nil {
					return
				}
				for k := range in.Len() {
					seen <- [2]any{in.From(k), i}
				}
				pool.Put(in)
			}
		}()
	}
	for range 16 {
		c := mustListen(t, loopbacks[0].addr)
		out := NewSendBatch()
		for range 4 {
			out.Add([]byte("x"), shards[0].LocalAddr(), netip.Addr{})
		}
		c.Send(out)
	}
	shardOf := make(map[any]any)
	for range 16 * 4 {
		select {
		case s := <-seen:
			if before, ok := shardOf[s[0]]; ok && before != s[1] {
				t.Errorf("%v met shards %v and %v", s[0], before, s[1])
			}
			shardOf[s[0]] = s[1]
		case <-time.After(10 * time.Second):
			t.Fatal("datagrams are missing")
		}
	}
	for _, c := range shards {
		c.Close()
	}
}

// A socket on 0.0.0.0 answers from the address it was asked at: 127.0.0.2 and 127.0.0.3 are loopback too.
func TestAnswersLeaveFromWhereTheyWereAsked(t *testing.T) {
	if !canShare {
		t.Skip("no arrival addresses on this system")
	}
	for _, c := range []struct{ any, client, at string }{
		{"0.0.0.0:0", "127.0.0.1:0", "127.0.0.2"},
		{"0.0.0.0:0", "127.0.0.1:0", "127.0.0.3"},
		{"[::]:0", "[::1]:0", "::1"},
	} {
		server, client := mustListen(t, netip.MustParseAddrPort(c.any)), mustListen(t, netip.MustParseAddrPort(c.client))
		pool, at := NewPool(), netip.AddrPortFrom(netip.MustParseAddr(c.at), server.LocalAddr().Port())
		out := NewSendBatch()
		out.Add([]byte("ask"), at, netip.Addr{})
		client.Send(out)
		in, err := server.Recv(pool)
		if err != nil {
			t.Fatal(err)
		}
		if in.To(0) != at.Addr() {
			t.Errorf("arrived at %v, want %v", in.To(0), at.Addr())
		}
		out.Add([]byte("answer"), in.From(0), in.To(0))
		if dropped := server.Send(out); dropped != 0 {
			t.Errorf("answer from %v dropped", in.To(0))
		}
		_, from := collect(t, client, pool, 1)
		if from[0] != at {
			t.Errorf("answer from %v, want %v", from[0], at)
		}
	}
}

func TestCloseEndsRecvAndIdleSocketsHoldNothing(t *testing.T) {
	c, pool := mustListen(t, loopbacks[0].addr), NewPool()
	result := make(chan error)
	go func() {
		_, err := c.Recv(pool)
		result <- err
	}()
	c.Close()
	if err := <-result; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want net.ErrClosed", err)
	}
	pool.mu.Lock()
	defer pool.mu.Unlock()
	if len(pool.idle) > 1 {
		t.Errorf("%d batches made for one socket", len(pool.idle))
	}
	out := NewSendBatch()
	out.Add([]byte("x"), c.LocalAddr(), netip.Addr{})
	if dropped := c.Send(out); dropped != 1 {
		t.Errorf("send on a closed socket: dropped %d, want 1", dropped)
	}
}

func TestPacketsAllocateNothing(t *testing.T) {
	for _, l := range loopbacks {
		a, b, pool, out := mustListen(t, l.addr), mustListen(t, l.addr), NewPool(), NewSendBatch()
		packet, sink := make([]byte, 1200), netip.AddrPort{}
		roundTrip := func() {
			for range 8 {
				out.Add(packet, b.LocalAddr(), netip.Addr{})
			}
			a.Send(out)
			for n := 0; n < 8; {
				in, err := b.Recv(pool)
				if err != nil {
					t.Fatal(err)
				}
				n += in.Len()
				for i := range in.Len() {
					sink = in.From(i)
				}
				pool.Put(in)
			}
		}
		if got := testing.AllocsPerRun(100, roundTrip); got >= 1 {
			t.Errorf("%s: %v allocations for 8 datagrams from %v", l.name, got, sink)
		}
	}
}
