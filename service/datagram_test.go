package service

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// udpEcho sends back what comes.
func udpEcho(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		buf := make([]byte, maxDatagram)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	t.Cleanup(func() { c.Close(); <-over })
	return c
}

// channels makes a forward's Opener that joins every flow with the service at an address.
func channels(t *testing.T, service net.Addr, opened *atomic.Int64, idle time.Duration) Opener {
	var flows sync.WaitGroup
	t.Cleanup(flows.Wait)
	return func(context.Context, Request) (Stream, error) {
		opened.Add(1)
		near, far := tcpPair(t)
		c, err := net.Dial("udp", service.String())
		if err != nil {
			return nil, err
		}
		flows.Go(func() {
			_ = JoinDatagrams(context.Background(), &pipeStream{TCPConn: far, done: make(chan struct{})}, c, Options{Idle: idle})
		})
		return &pipeStream{TCPConn: near, done: make(chan struct{})}, nil
	}
}

// TestDatagrams: they keep their edges, of any size from none on, and each address that sends has its answers to itself.
func TestDatagrams(t *testing.T) {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var opened atomic.Int64
	f := &Flows{Socket: socket, To: Request{Kind: KindDatagrams, Name: "echo"}, Open: channels(t, udpEcho(t).LocalAddr(), &opened, time.Minute), Idle: time.Minute}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx) }()
	for client := range 3 {
		c, err := net.Dial("udp", socket.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		for _, size := range []int{1, 0, 1200, 9000, 60000} {
			want, got := bytes.Repeat([]byte{byte(client + 1)}, size), make([]byte, maxDatagram)
			if _, err := c.Write(want); err != nil {
				t.Fatal(err)
			}
			n, err := c.Read(got)
			if err != nil || !bytes.Equal(got[:n], want) {
				t.Fatalf("client %d sent %d bytes and got %d, %v", client, size, n, err)
			}
		}
	}
	if n := opened.Load(); n != 3 || f.Stats().Open.Load() != 3 || f.Stats().Total.Load() != 3 {
		t.Errorf("%d channels for 3 addresses, %d open", n, f.Stats().Open.Load())
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := f.Stats().Open.Load(); n != 0 {
		t.Errorf("%d flows are left", n)
	}
}

// TestSlowChannelDropsTheOldest: what waits is bounded, in number and in bytes, and the newest is what is left of it.
func TestSlowChannelDropsTheOldest(t *testing.T) {
	var dropped atomic.Uint64
	q := newQueue(&dropped)
	for i := range 3 * queueDatagrams {
		q.push([]byte{byte(i)})
	}
	first := q.take(nil)
	if n := len(first) / 3; n != queueDatagrams || first[2] != byte(2*queueDatagrams) || dropped.Load() != 2*queueDatagrams {
		t.Errorf("%d are left, from %d on, %d dropped", n, first[2], dropped.Load())
	}
	for range 10 {
		q.push(make([]byte, 50_000))
	}
	if q.bytes > queueBytes || len(q.list) != queueBytes/50_000 {
		t.Errorf("%d bytes in %d datagrams", q.bytes, len(q.list))
	}
	for range 2 { // each is longer than a burst, and so goes alone
		if n := len(q.take(nil)); n != 50_002 {
			t.Errorf("took %d bytes", n)
		}
	}
	if len(q.take(nil)) != 0 || q.bytes != 0 {
		t.Error("there is something left")
	}
}

// TestFlowsAreBounded: addresses beyond the limit get nothing, and those that there are go on.
func TestFlowsAreBounded(t *testing.T) {
	f := &Flows{}
	for i := range maxFlows + 10 {
		q, fresh := f.queueOf(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(1000+i)))
		if (q != nil) != (i < maxFlows) || fresh != (i < maxFlows) {
			t.Fatalf("flow %d: %v, %v", i, q, fresh)
		}
	}
	if q, fresh := f.queueOf(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 1000)); q == nil || fresh {
		t.Error("a flow that is there is not found")
	}
}

// TestFlowEnds: with its idle time, which is no error; with the channel; and with the context, which is told.
func TestFlowEnds(t *testing.T) {
	for name, end := range map[string]func(cancel context.CancelCauseFunc, peer *net.TCPConn){
		"idle":    func(context.CancelCauseFunc, *net.TCPConn) {},
		"channel": func(_ context.CancelCauseFunc, peer *net.TCPConn) { peer.Close() },
		"context": func(cancel context.CancelCauseFunc, _ *net.TCPConn) { cancel(errors.New("taken away")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			peer, mine := tcpPair(t)
			c, err := net.Dial("udp", udpEcho(t).LocalAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			idle := time.Second
			if name != "idle" {
				idle = time.Hour
			}
			end(cancel, peer)
			err = JoinDatagrams(ctx, &pipeStream{TCPConn: mine, done: make(chan struct{})}, c, Options{Idle: idle})
			if (err != nil) != (name == "context") {
				t.Errorf("it ended with %v", err)
			}
			if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the socket is left: %v", err)
			}
		})
	}
}

// FuzzDatagrams: what is read is what was written, and nothing else allocates more than a datagram.
func FuzzDatagrams(f *testing.F) {
	f.Add([]byte("\x00\x03abc\x00\x00\x00\x01x"))
	f.Add([]byte("\xff\xffabc"))
	f.Add([]byte("\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, q, n := bytes.NewReader(in), newQueue(nil), 0
		for {
			b, err := readDatagram(r, nil)
			if err != nil {
				if n == len(in) != errors.Is(err, io.EOF) || n > len(in) {
					t.Fatalf("%v after %d bytes of %d", err, n, len(in))
				}
				return
			}
			q.push(b)
			if out := q.take(nil); !bytes.Equal(out, in[n:n+2+len(b)]) {
				t.Fatalf("% x became % x", in[n:n+2+len(b)], out)
			}
			n += 2 + len(b)
		}
	})
}

// TestDatagramRequests: what is exposed for datagrams is not reachable as a stream, nor the reverse.
func TestDatagramRequests(t *testing.T) {
	var table Table
	for name, target := range map[string]string{"dns": "udp:127.0.0.1:53", "web": "127.0.0.1:80", "net": "udp:10.0.0.0/8:*"} {
		to, err := ParseTarget(target)
		if err == nil && to.String() != target {
			t.Errorf("%q is written %q", target, to)
		}
		if err := errors.Join(err, table.Add(Exposed{Name: name, Target: to})); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]Verdict{
		"datagrams/dns": Granted, "service/dns": Denied, "service/web": Granted, "datagrams/web": Denied, "datagrams/net": Denied,
		"udp/127.0.0.1:53": Granted, "tcp/127.0.0.1:53": Denied, "tcp/127.0.0.1:80": Granted, "udp/127.0.0.1:80": Denied,
		"udp/10.1.2.3:1": Granted, "tcp/10.1.2.3:1": Denied,
	} {
		r, err := ParseRequest(name)
		if err != nil || r.String() != name {
			t.Fatalf("%q is written %q, %v", name, r, err)
		}
		lease, _, got := table.Permit([32]byte{1}, r, nil)
		if got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		if lease != nil {
			if r.Kind == KindUDP && lease.Network != "udp" {
				t.Errorf("%s is dialled by %s", name, lease.Network)
			}
			lease.Release()
		}
	}
	for _, bad := range []string{"udp:", "udp:unix:/a", "udp:udp:53", "udp:host"} {
		if _, err := ParseTarget(bad); err == nil {
			t.Errorf("%q is a target", bad)
		}
	}
	for _, e := range table.List() {
		if want := map[string]time.Duration{"udp": DefaultFlowIdle, "tcp": DefaultIdle}[e.Target.Network]; e.Idle != want {
			t.Errorf("%s is idle for %v", e.Name, e.Idle)
		}
	}
}
