package dht

import (
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
)

func TestPutCountsTheNodesThatStored(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		nodes  int
		stored int
	}{
		{2, 1}, {3, 2}, {5, 4}, {12, bucketK},
	} {
		nodes := mesh(t, c.nodes)
		for _, n := range nodes {
			eventually(t, "every node to know enough others", func() bool { return n.Stats().GoodNodes >= min(c.nodes-1, bucketK) })
		}
		key, public := newKey(t)
		var stored Stored
		var err error
		eventually(t, "all the nearest nodes to store", func() bool { // on a busy machine one may answer too late
			stored, err = nodes[1].Put(t.Context(), key, 5, []byte("value"))
			return err == nil && stored.Nodes >= c.stored
		})
		if stored.Nodes != c.stored || stored.Seq != 5 {
			t.Errorf("%d nodes: stored %+v, want %d nodes", c.nodes, stored, c.stored)
		}
		if c.nodes <= bucketK && !stored.Local {
			t.Errorf("%d nodes: not stored here, though this is one of the nearest", c.nodes)
		}
		for i, n := range nodes {
			item, err := n.Get(t.Context(), public, 0, nil)
			if err != nil || string(item.Value) != "value" || item.Seq != 5 {
				t.Errorf("%d nodes: node %d got %q, %d, %v", c.nodes, i, item.Value, item.Seq, err)
			}
		}
	}
}

func TestPutFollowsWhatIsThere(t *testing.T) {
	t.Parallel()
	nodes := mesh(t, 3)
	key, public := newKey(t)
	for _, step := range []struct {
		name  string
		seq   int64
		value string
		want  int64
		err   error
	}{
		{"the first", 100, "a", 100, nil},
		{"a higher number", 200, "b", 200, nil},
		{"a clock that went back", 150, "c", 201, nil},
		{"the same value with an older number is written again as it is", 10, "c", 201, nil},
		{"the highest number", math.MaxInt64, "pin", math.MaxInt64, nil},
		{"the same value can still be kept alive", 1, "pin", math.MaxInt64, nil},
		{"but nothing can follow", 300, "d", 0, ErrPinned},
	} {
		stored, err := nodes[1].Put(t.Context(), key, step.seq, []byte(step.value))
		if !errors.Is(err, step.err) || stored.Seq != step.want {
			t.Errorf("%s: got %+v, %v; want %d, %v", step.name, stored, err, step.want, step.err)
		}
	}
	if item, err := nodes[2].Get(t.Context(), public, 200, nil); err != nil || string(item.Value) != "pin" {
		t.Errorf("above 200: got %q, %v; want the last", item.Value, err)
	}
	if _, err := nodes[2].Get(t.Context(), public, math.MaxInt64, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("above the highest: got %v, want %v", err, ErrNotFound)
	}
	if _, err := nodes[0].Put(t.Context(), key, 1, make([]byte, 997)); err == nil {
		t.Error("stored 997 bytes")
	}
}

func TestPutFailsWhenNoNodeStores(t *testing.T) {
	t.Parallel()
	key, public := newKey(t)

	refusing := fakeNode(t, func(krpc.Msg) *krpc.Return { return &krpc.Return{ID: krpc.ID{1}} })
	n := listen(t, refusing.String())
	await(t, n.Joined(), "join")
	if _, err := n.Put(t.Context(), key, 1, []byte("x")); !errors.Is(err, ErrNotStored) {
		t.Errorf("a node that gives no token: got %v, want %v", err, ErrNotStored)
	}

	alone := listen(t)
	if stored, err := alone.Put(t.Context(), key, 1, []byte("x")); err != nil || !stored.Local || stored.Nodes != 0 {
		t.Errorf("alone in a private DHT: got %+v, %v; want it kept here", stored, err)
	}
	if item, err := alone.Get(t.Context(), public, 0, nil); err != nil || string(item.Value) != "x" {
		t.Errorf("alone: got %q, %v", item.Value, err)
	}
	_, other := newKey(t)
	if _, err := alone.Get(t.Context(), other, 0, nil); !errors.Is(err, ErrNoNodes) {
		t.Errorf("alone: got %v, want %v", err, ErrNoNodes)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Put(ctx, key, 1, []byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestTwoNodesWhoeverStartsFirst(t *testing.T) {
	t.Parallel()
	for _, laterIsBootstrap := range []bool{false, true} {
		at := freePort(t)
		var a, b *Node
		if laterIsBootstrap {
			a = listen(t, at.String())
			eventually(t, "the node to try in vain", func() bool { return a.Stats().Timeouts > 0 })
			b = listenAt(t, at)
		} else {
			b = listenAt(t, at)
			a = listen(t, at.String())
		}
		await(t, a.Joined(), "a to join")
		await(t, b.Joined(), "b to join")
		key, public := newKey(t)
		// A machine that is busy with other tests answers later than nodes wait: what counts is that they find each other.
		eventually(t, "the item to be stored at the other", func() bool {
			stored, err := b.Put(t.Context(), key, 1, []byte("x"))
			if err != nil {
				t.Fatalf("put: %v", err)
			}
			return stored.Nodes == 1
		})
		eventually(t, "the item to be found", func() bool {
			_, err := a.Get(t.Context(), public, 0, nil)
			if err != nil && !errors.Is(err, ErrNoNodes) && !errors.Is(err, ErrNotFound) {
				t.Fatalf("get: %v", err)
			}
			return err == nil
		})
	}
}

// TestABootstrapNodeThatRestartsIsFoundAgain: it has lost its table, its items and its node id.
func TestABootstrapNodeThatRestartsIsFoundAgain(t *testing.T) {
	t.Parallel()
	at := freePort(t)
	boot := listenAt(t, at)
	a, b := listen(t, at.String()), listen(t, at.String())
	for _, n := range []*Node{a, b} {
		eventually(t, "all to know each other", func() bool { return n.Stats().GoodNodes == 2 })
	}
	if err := boot.Close(); err != nil {
		t.Fatal(err)
	}
	key, public := newKey(t)
	eventually(t, "a node that stores, without the bootstrap node", func() bool {
		_, err := a.Put(t.Context(), key, 1, []byte("before"))
		return err == nil
	})
	again := listenAt(t, at) // nobody tells it of the others
	eventually(t, "the restarted node to know both", func() bool { return again.Stats().GoodNodes == 2 })
	eventually(t, "what was stored before", func() bool {
		item, err := again.Get(t.Context(), public, 0, nil)
		return err == nil && string(item.Value) == "before"
	})
}

func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestListenSaysWhatIsWrong(t *testing.T) {
	n := listen(t)
	_, err := Listen(Config{Mode: Private, Listen: n.Addr()})
	var le *ListenError
	if !errors.As(err, &le) || !le.InUse() || le.Addr != n.Addr() {
		t.Errorf("got %v, want a ListenError that says the port is in use", err)
	}
	if want := "dht: listen on udp " + n.Addr().String() + ": port is in use by another program"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = Listen(Config{Mode: Private, Listen: netip.MustParseAddrPort("192.0.2.1:1")})
	if !errors.As(err, &le) || le.InUse() {
		t.Errorf("an address that is not ours: got %v", err)
	}

	for _, c := range []struct {
		want string
		cfg  Config
	}{
		{"dht: config: mode is neither private nor mainline", Config{}},
		{`dht: config: bootstrap node "localhost" is not host:port`, Config{Mode: Private, Bootstrap: []string{"localhost"}}},
		{"dht: config: a private node's id does not follow from its address", Config{Mode: Private, PublicIP: netip.MustParseAddr("8.8.8.8")}},
		{"dht: config: 10.0.0.1 is not a public address", Config{Mode: Mainline, PublicIP: netip.MustParseAddr("10.0.0.1")}},
	} {
		if _, err := Listen(c.cfg); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestCloseFreesThePortAndEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	nodes := mesh(t, 5)
	key, _ := newKey(t)
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			for seq := int64(1); ; seq++ {
				if _, err := n.Put(t.Context(), key, seq*10+int64(i), []byte("x")); errors.Is(err, ErrClosed) {
					return
				}
			}
		})
	}
	for _, n := range nodes {
		eventually(t, "traffic", func() bool { return n.Stats().Puts > 0 })
		addr := n.Addr()
		start := time.Now()
		_ = n.Close()
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("close took %v", took)
		}
		_ = n.Close()
		<-n.Done()
		if !errors.Is(n.Err(), ErrClosed) || !errors.Is(n.Err(), net.ErrClosed) {
			t.Errorf("err is %v, want %v", n.Err(), ErrClosed)
		}
		conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(addr))
		if err != nil {
			t.Errorf("the port is not free: %v", err)
			continue
		}
		_ = conn.Close()
	}
	wg.Wait()
	// What remains is the library's: replies on their way, which end by themselves.
	eventually(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before+1 })
	buf := make([]byte, 1<<20)
	if s := string(buf[:runtime.Stack(buf, true)]); strings.Contains(s, "traverse.internal/dht.(*") {
		t.Errorf("left behind:\n%s", s)
	}
}

func TestTheNodeAnswersOthers(t *testing.T) {
	n := mesh(t, 2)[0]
	eventually(t, "the other node to be good", func() bool { return n.Stats().GoodNodes == 1 })
	a := attack(t, n)
	_, public := newKey(t)
	for name, packet := range map[string]string{
		"find_node": query("find_node", id20+"6:target20:"+string(public[:20])),
		"get":       query("get", id20+"6:target20:"+string(public[:20])),
		"get_peers": query("get_peers", id20+hash20),
	} {
		// A walk to any target, not only to zero, is told of the other node.
		if got := a.ask(packet); !strings.Contains(got, "5:nodes26:") && !strings.Contains(got, "5:nodes52:") {
			t.Errorf("%s: answered %q, want a node in it", name, got)
		}
	}
}

func TestAvoidList(t *testing.T) {
	var l avoidList
	now := time.Unix(1_800_000_000, 0)
	addr := netip.MustParseAddrPort("8.8.8.8:1")
	if l.skip(now, addr) {
		t.Error("avoided before anything happened")
	}
	l.failed(now, addr, time.Second)
	if !l.skip(now.Add(999*time.Millisecond), addr) || l.skip(now.Add(time.Second), addr) {
		t.Error("want it avoided for one second")
	}
	l.failed(now, addr, time.Second)
	if !l.skip(now.Add(1999*time.Millisecond), addr) || l.skip(now.Add(2*time.Second), addr) {
		t.Error("want it avoided for two seconds the second time")
	}
	for range 20 {
		l.failed(now, addr, time.Second)
	}
	if l.skip(now.Add(avoidMost), addr) {
		t.Errorf("avoided for longer than %v", avoidMost)
	}
	l.alive(addr)
	if l.skip(now, addr) {
		t.Error("avoided though it lives")
	}
	for i := range 2 * maxAvoided {
		l.failed(now, netip.AddrPortFrom(addr.Addr(), uint16(i+1)), time.Second)
	}
	if got := len(l.nodes); got != maxAvoided {
		t.Errorf("%d addresses remembered, want %d", got, maxAvoided)
	}
}

func TestNodesOverIPv6(t *testing.T) {
	at := netip.MustParseAddrPort("[::1]:0")
	if conn, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(at)); err != nil {
		t.Skipf("no IPv6 loopback here: %v", err)
	} else {
		_ = conn.Close()
	}
	boot := listenAt(t, at)
	nodes := []*Node{boot, listenAt(t, at, boot.Addr().String()), listenAt(t, at, boot.Addr().String())}
	for _, n := range nodes {
		eventually(t, "all to know each other", func() bool { return n.Stats().GoodNodes == 2 })
	}
	a, b := newDevice(t, nodes[1], 0, nil), newDevice(t, nodes[2], 0, nil)
	befriend(t, a, b)
	mustCall(t, a, b)
}

// TestQueriesInAFloodAreDropped: the library starts three goroutines for each that it gets.
func TestQueriesInAFloodAreDropped(t *testing.T) {
	n := listen(t)
	a := attack(t, n)
	eventually(t, "queries to be dropped", func() bool {
		for range 100 {
			a.send(query("ping", id20))
		}
		return n.Stats().Drops[DropFlood] > 0
	})
	if got := a.ask(query("ping", id20)); !strings.Contains(got, "2:id20:") {
		t.Errorf("after the flood ping is answered with %q", got)
	}
}

// TestAPollCostsLittle: looking again where one has looked asks the nearest nodes and hardly anybody else.
func TestAPollCostsLittle(t *testing.T) {
	t.Parallel()
	nodes := mesh(t, 39)
	// A node in doubt has others asked instead. This one waits ten times as long as nodes do, so that on a busy machine, too, nobody is in doubt.
	n, err := Listen(Config{Mode: Private, Listen: loopback, Bootstrap: []string{nodes[0].Addr().String()}, resend: 10 * paces[Private].resend})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close() // before the others, for whose answers it would wait as long
	await(t, n.Joined(), "node to join")
	eventually(t, "some nodes", func() bool { return n.Stats().GoodNodes >= bucketK })
	key, public := newKey(t)
	poll := func() uint64 {
		before := n.Stats().QueriesOut
		if _, err := n.Get(t.Context(), public, 0, nil); !errors.Is(err, ErrNotFound) {
			t.Fatalf("got %v, want %v", err, ErrNotFound)
		}
		return n.Stats().QueriesOut - before
	}
	first, total := poll(), uint64(0)
	const polls = 20
	for range polls {
		total += poll()
	}
	t.Logf("%d queries the first time, %.1f then, in %d polls", first, float64(total)/polls, polls)
	if total > 12*polls {
		t.Errorf("%d polls cost %d queries, want some 8 each", polls, total)
	}
	eventually(t, "a node that stores", func() bool {
		_, err := nodes[3].Put(t.Context(), key, 1, []byte("x"))
		return err == nil
	})
	eventually(t, "what was stored since", func() bool {
		_, err := n.Get(t.Context(), public, 0, nil)
		return err == nil
	})
}
