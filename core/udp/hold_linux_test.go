package udp

import (
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// holder waits, as a shard does, for so long with its processor kept, and says of each datagram that it came.
func holder(t *testing.T, millis int) (stats *Stats, send func(), came chan struct{}) {
	t.Helper()
	stats, came = new(Stats), make(chan struct{}, 1)
	p, err := NewPoller(stats)
	if err != nil {
		t.Fatal(err)
	}
	p.Hold()
	p.hold.millis = millis
	conn, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Add(conn, conn); err != nil {
		t.Fatal(err)
	}
	from, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		in, ready := NewRecvBatch(stats), make([]Ready, BatchLen)
		for {
			if _, err := p.Wait(ready); err != nil {
				return
			}
			in.Reset()
			if n, _ := conn.Recv(in, BatchLen); n > 0 {
				came <- struct{}{}
			}
		}
	}()
	t.Cleanup(func() {
		_ = p.Close()
		<-ended
		_ = conn.Close()
		_ = from.Close()
	})
	out := NewSendBatch(new(Stats))
	return stats, func() {
		out.Add([]byte{1}, Route{To: conn.LocalAddr()})
		from.Send(out)
	}, came
}

// TestHoldWhileBusy: what comes in close succession is waited for with the processor kept.
func TestHoldWhileBusy(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	stats, send, came := holder(t, holdMillis)
	const n = 2000
	for range n {
		send()
		<-came
	}
	if c := stats.Load(); c.Holds < n/2 {
		t.Errorf("%d of %d waits kept their processor for %d datagrams", c.Holds, c.Waits, n)
	}
}

// TestHoldCostsNothingIdle: where nothing comes, waiting is one system call that does not end, and tries to keep the
// processor get rarer.
func TestHoldCostsNothingIdle(t *testing.T) {
	stats, send, came := holder(t, holdMillis)
	idle := func() {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; {
			before := stats.Load()
			if time.Now().After(deadline) {
				t.Fatalf("waits do not come to rest: %+v", before)
			}
			<-time.After(4 * holdMillis * time.Millisecond)
			if after := stats.Load(); after == before && before.Waits > before.Holds {
				return
			}
		}
	}
	for range 5 {
		idle()
		send()
		<-came
	}
	idle()
	if c := stats.Load(); c.Vain > 4 { // 1 + 2 + 4 waits without in between
		t.Errorf("%d tries in vain for 5 datagrams, each after a pause", c.Vain)
	}
}

// TestHoldLetsTheWorldStop: the collector does not wait for who keeps a processor, not even where that one never gives it back.
func TestHoldLetsTheWorldStop(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	stats, send, came := holder(t, -1)
	for range 20 {
		send()
		<-came
		runtime.GC() // stops the world more than once; the test never ends where that fails
	}
	if c := stats.Load(); c.Holds == 0 || c.Waits != c.Holds {
		t.Errorf("%+v: want every wait with its processor kept", c)
	}
}
