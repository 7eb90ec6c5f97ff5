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

// endpoint is a socket with what it takes to use it.
type endpoint struct {
	*Conn
	t      testing.TB
	poller *Poller
	in     *RecvBatch
	out    *SendBatch
	stats  Stats
}

func mustListen(t testing.TB, addr netip.AddrPort) *endpoint {
	t.Helper()
	return mustListenWith(t, addr, Options{RecvBuffer: 1 << 20, SendBuffer: 1 << 20})
}

func mustListenWith(t testing.TB, addr netip.AddrPort, o Options) *endpoint {
	t.Helper()
	c, err := Listen(addr, o)
	if err != nil {
		t.Skipf("no such loopback here: %v", err)
	}
	return newEndpoint(t, c)
}

func newEndpoint(t testing.TB, c *Conn) *endpoint {
	t.Helper()
	e := &endpoint{Conn: c, t: t}
	var err error
	if e.poller, err = NewPoller(&e.stats); err == nil {
		err = e.poller.Add(c, e)
	}
	if err != nil {
		t.Fatal(err)
	}
	e.in, e.out = NewRecvBatch(&e.stats), NewSendBatch(&e.stats)
	t.Cleanup(func() {
		c.Close()
		e.poller.Close()
	})
	return e
}

// recv waits and receives into an empty batch.
func (e *endpoint) recv() *RecvBatch {
	e.t.Helper()
	stop := time.AfterFunc(10*time.Second, func() { e.poller.Close() })
	defer stop.Stop()
	var ready [BatchLen]Ready
	e.in.Reset()
	for e.in.Len() == 0 {
		n, err := e.poller.Wait(ready[:])
		if err != nil || n != 1 || ready[0].Owner != any(e) {
			e.t.Fatalf("Wait: %d %v, %v", n, ready[0].Owner, err)
		}
		if _, err := e.Recv(e.in, BatchLen); err != nil {
			e.t.Fatal(err)
		}
	}
	return e.in
}

// collect receives until it has n datagrams, copied.
func (e *endpoint) collect(n int) (packets [][]byte, from []netip.AddrPort) {
	e.t.Helper()
	for len(packets) < n {
		in := e.recv()
		for i := range in.Len() {
			packets = append(packets, bytes.Clone(in.Packet(i)))
			from = append(from, in.From(i))
		}
	}
	return packets, from
}

func (e *endpoint) send(to netip.AddrPort, packets ...[]byte) Drops {
	for _, p := range packets {
		e.out.Add(p, Route{To: to})
	}
	return e.Send(e.out)
}

func TestBatchesArriveWhole(t *testing.T) {
	sizes := []int{0, 1, 3, 4, 100, 1200, 1472, 9000, 65507}
	for _, l := range loopbacks {
		t.Run(l.name, func(t *testing.T) {
			a, b := mustListen(t, l.addr), mustListen(t, l.addr)
			for i, size := range sizes {
				a.out.Add(bytes.Repeat([]byte{byte(i + 1)}, size), Route{To: b.LocalAddr()})
			}
			if dropped := a.Send(a.out); dropped != (Drops{}) || a.out.Len() != 0 {
				t.Fatalf("dropped %v, left %d", dropped, a.out.Len())
			}
			packets, from := b.collect(len(sizes))
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
	a.out.Add([]byte("first"), Route{To: b.LocalAddr()})
	a.out.Add([]byte("nowhere"), Route{To: netip.MustParseAddrPort("[::1]:9")}) // IPv6 from an IPv4 socket
	a.out.Add(make([]byte, 65508), Route{To: b.LocalAddr()})                    // longer than UDP has
	a.out.Add([]byte("last"), Route{To: b.LocalAddr()})
	if dropped := a.Send(a.out); dropped.Total() != 2 {
		t.Errorf("dropped: got %v, want 2", dropped)
	}
	packets, _ := b.collect(2)
	if string(packets[0]) != "first" || string(packets[1]) != "last" {
		t.Errorf("received %q", packets)
	}
}

func TestHeadersGoAroundInPlace(t *testing.T) {
	a, b := mustListen(t, loopbacks[0].addr), mustListen(t, loopbacks[0].addr)
	a.send(b.LocalAddr(), []byte("body"))
	a.send(b.LocalAddr(), []byte("body"))
	for seen := 0; seen < 2; {
		in := b.recv()
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
	}
}

// Whatever fills it, a batch that does not say Full takes one more.
func TestFullBatches(t *testing.T) {
	for _, head := range []int{0, 4, 36, 48} {
		for _, size := range []int{0, 1, 100} { // empty ones make no trains
			e := mustListen(t, loopbacks[0].addr)
			n := 0
			for ; !e.out.Full(); n++ {
				var front []byte
				if head > 0 {
					front = e.out.Head(head)
				}
				e.out.AddParts(Route{To: e.LocalAddr()}, front, make([]byte, size), n%4)
			}
			if n < BatchLen || e.out.Len() != n {
				t.Errorf("heads of %d, %d bytes: full with %d", head, size, n)
			}
			if dropped := e.Send(e.out); dropped.Refused+dropped.TooBig > 0 || e.out.Full() {
				t.Errorf("heads of %d, %d bytes: %v", head, size, dropped)
			}
		}
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

// What one sender sends arrives at one shard, so that only that one has to know it.
func TestASenderMeetsOneShard(t *testing.T) {
	shards, err := ListenShards(loopbacks[0].addr, 2, Options{RecvBuffer: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	poller, err := NewPoller(new(Stats))
	if err != nil {
		t.Fatal(err)
	}
	defer poller.Close()
	for _, c := range shards {
		defer c.Close()
		if err := poller.Add(c, c); err != nil {
			t.Fatal(err)
		}
	}
	for range 16 {
		c := mustListen(t, loopbacks[0].addr)
		for range 4 {
			c.send(shards[0].LocalAddr(), []byte("x"))
		}
	}
	stop := time.AfterFunc(10*time.Second, func() { poller.Close() })
	defer stop.Stop()
	shardOf := make(map[netip.AddrPort]any)
	in, ready := NewRecvBatch(new(Stats)), make([]Ready, 4)
	for got := 0; got < 16*4; {
		n, err := poller.Wait(ready)
		if err != nil {
			t.Fatalf("datagrams are missing: %v", err)
		}
		for _, r := range ready[:n] {
			in.Reset()
			if _, err := r.Owner.(*Conn).Recv(in, BatchLen); err != nil {
				t.Fatal(err)
			}
			for i := range in.Len() {
				if before, ok := shardOf[in.From(i)]; ok && before != r.Owner {
					t.Errorf("%v met two shards", in.From(i))
				}
				shardOf[in.From(i)] = r.Owner
				got++
			}
		}
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
		at := netip.AddrPortFrom(netip.MustParseAddr(c.at), server.LocalAddr().Port())
		client.send(at, []byte("ask"))
		in := server.recv()
		if in.To(0) != at.Addr() {
			t.Errorf("arrived at %v, want %v", in.To(0), at.Addr())
		}
		server.out.Add([]byte("answer"), Route{To: in.From(0), From: in.To(0)})
		if dropped := server.Send(server.out); dropped != (Drops{}) {
			t.Errorf("answer from %v dropped", in.To(0))
		}
		if _, from := client.collect(1); from[0] != at {
			t.Errorf("answer from %v, want %v", from[0], at)
		}
	}
}

func TestCloseEndsWait(t *testing.T) {
	for range 50 {
		p, err := NewPoller(new(Stats))
		if err != nil {
			t.Fatal(err)
		}
		result := make(chan error)
		go func() {
			_, err := p.Wait(make([]Ready, 1))
			result <- err
		}()
		p.Close()
		select {
		case err := <-result:
			if !errors.Is(err, net.ErrClosed) {
				t.Fatalf("got %v, want net.ErrClosed", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("Wait did not end")
		}
	}
}

// A closed socket takes and gives nothing, and its place in the Poller is another's.
func TestClosedSockets(t *testing.T) {
	e := mustListen(t, loopbacks[0].addr)
	for range 100 {
		c, err := Listen(loopbacks[0].addr, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.poller.Add(c, c); err != nil {
			t.Fatal(err)
		}
		e.send(c.LocalAddr(), []byte("x"))
		c.Close()
		c.Close()
		if _, err := c.Recv(e.in, 1); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("Recv: got %v, want net.ErrClosed", err)
		}
		e.out.Add([]byte("x"), Route{To: e.LocalAddr()})
		if dropped := c.Send(e.out); dropped.Refused != 1 {
			t.Fatalf("Send: dropped %v, want 1", dropped)
		}
		if err := e.poller.Add(c, c); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("Add: got %v, want net.ErrClosed", err)
		}
	}
	if n := places(e.poller); n > 2 {
		t.Errorf("%d places for at most two sockets at a time", n)
	}
	e.send(e.LocalAddr(), []byte("still here"))
	if got, _ := e.collect(1); string(got[0]) != "still here" {
		t.Errorf("got %q", got)
	}
}

func TestPacketsAllocateNothing(t *testing.T) {
	for _, l := range loopbacks {
		a, b := mustListen(t, l.addr), mustListen(t, l.addr)
		packet, sink := make([]byte, 1200), netip.AddrPort{}
		var ready [4]Ready
		roundTrip := func() {
			for range 8 {
				a.out.Add(packet, Route{To: b.LocalAddr()})
			}
			a.Send(a.out)
			for n := 0; n < 8; {
				if _, err := b.poller.Wait(ready[:]); err != nil {
					t.Fatal(err)
				}
				b.in.Reset()
				if _, err := b.Recv(b.in, BatchLen); err != nil {
					t.Fatal(err)
				}
				n += b.in.Len()
				for i := range b.in.Len() {
					sink = b.in.From(i)
				}
			}
		}
		if got := testing.AllocsPerRun(100, roundTrip); got >= 1 {
			t.Errorf("%s: %v allocations for 8 datagrams from %v", l.name, got, sink)
		}
	}
}
