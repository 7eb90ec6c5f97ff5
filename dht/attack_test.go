package dht

import (
	"errors"
	"expvar"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2/bep44"
	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
)

// attacker is a UDP socket that speaks to one node.
type attacker struct {
	*net.UDPConn
	t *testing.T
}

func attack(t *testing.T, n *Node) *attacker {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(n.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &attacker{conn, t}
}

func (a *attacker) send(packet string) {
	a.t.Helper()
	if _, err := a.Write([]byte(packet)); err != nil {
		a.t.Fatal(err)
	}
}

// ask sends a packet and returns the answer; the node's own queries are passed over.
func (a *attacker) ask(packet string) string {
	a.t.Helper()
	b := make([]byte, 4096)
	for range 20 { // loopback may drop when the receiver is slow
		a.send(packet)
		_ = a.SetReadDeadline(time.Now().Add(time.Second))
		for {
			n, err := a.Read(b)
			if err != nil {
				break
			}
			if strings.Contains(string(b[:n]), "1:y1:r") {
				return string(b[:n])
			}
		}
	}
	a.t.Fatal("the node does not answer")
	return ""
}

// TestPacketsThatKillTheLibrary sends each to a node and asks it something afterwards. Without the guard the first one
// ends the test process.
func TestPacketsThatKillTheLibrary(t *testing.T) {
	t.Parallel()
	n := listen(t)
	a := attack(t, n)
	for i, packet := range []string{
		"d1:q3:put1:t2:aa1:y1:qe",                 // nil dereference in the put handler
		"d1:q13:announce_peer1:t2:aa1:y1:qe",      // and in announce_peer's
		"d2:ip1:x1:t2:aa1:y1:qe",                  // slice length out of range in the decoder
		"d2:ip0:1:rd" + id20 + "e1:t2:aa1:y1:re",  // also in an answer nobody asked for
		"d1:rd" + id20 + "6:valuesl1:xee1:t1:ae",  // and in a peer's address
		"d1:q134217727:x",                         // 128 MiB allocated for 15 bytes
		strings.Repeat("l", 60_000),               // recursion
		"d1:t2:aa1:y1:re", "d1:t2:aa1:y1:ee", "d", // and what merely lacks a part
	} {
		a.send(packet)
		if got := a.ask(query("ping", id20)); !strings.Contains(got, "2:id20:") {
			t.Errorf("after packet %d: ping answered with %q", i, got)
		}
	}
}

// TestAGetAnswerWithoutSeq: a node that answers with the right key and no seq killed the library's own reader.
func TestAGetAnswerWithoutSeq(t *testing.T) {
	t.Parallel()
	key, public := newKey(t)
	value := bencode.MustMarshal("value")
	for _, c := range []struct {
		name   string
		change func(r *krpc.Return)
		want   error
	}{
		{"whole", func(*krpc.Return) {}, nil},
		{"no seq", func(r *krpc.Return) { r.Seq = nil }, ErrNotFound},
		{"no value", func(r *krpc.Return) { r.V = nil }, ErrNotFound},
		{"no key", func(r *krpc.Return) { r.K = [32]byte{} }, ErrNotFound},
		{"another signature", func(r *krpc.Return) { r.Sig[0] ^= 1 }, ErrNotFound},
		{"another value", func(r *krpc.Return) { r.V = bencode.MustMarshal("other") }, ErrNotFound},
		{"another seq", func(r *krpc.Return) { *r.Seq = 8 }, ErrNotFound},
		{"nothing but the key", func(r *krpc.Return) { *r = krpc.Return{ID: r.ID, Bep44Return: krpc.Bep44Return{K: public}} }, ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			hostile := fakeNode(t, func(q krpc.Msg) *krpc.Return {
				seq := int64(7)
				r := krpc.Return{ID: krpc.ID{1}, Bep44Return: krpc.Bep44Return{V: value, K: public, Seq: &seq}}
				copy(r.Sig[:], bep44.Sign(key, nil, seq, value))
				c.change(&r)
				return &r
			})
			n := listen(t, hostile.String())
			await(t, n.Joined(), "join")
			item, err := n.Get(t.Context(), public, 0, nil)
			if !errors.Is(err, c.want) {
				t.Errorf("got %q, %v; want %v", item.Value, err, c.want)
			}
		})
	}
}

// fakeNode answers every query with what answer returns, for as long as the test runs.
func fakeNode(t *testing.T, answer func(q krpc.Msg) *krpc.Return) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			var q krpc.Msg
			if bencode.Unmarshal(b[:n], &q) != nil || q.Y != "q" {
				continue
			}
			r := answer(q)
			if r == nil {
				continue
			}
			_, _ = conn.WriteToUDPAddrPort(bencode.MustMarshal(krpc.Msg{T: q.T, Y: "r", R: r}), from)
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// TestQueryNamesLeaveTheHeapFlat: the library keeps every query name it sees for ever; 20,000 were 30 MB.
func TestQueryNamesLeaveTheHeapFlat(t *testing.T) {
	n := listen(t)
	a := attack(t, n)
	keys := func() (count int) {
		expvar.Get("dht").(*expvar.Map).Do(func(expvar.KeyValue) { count++ })
		return count
	}
	dropped := func() uint64 { return n.Stats().Drops[DropUnknown] }
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	a.ask(query("ping", id20)) // everything that is made once is made
	keysBefore, heapBefore := keys(), heap()
	const names = 20_000
	name := strings.Repeat("x", 200)
	for sent := 0; sent < names; {
		for range 50 { // few enough for the socket's buffer
			a.send(query(fmt.Sprintf("%s%d", name, sent), id20))
			sent++
		}
		before := dropped()
		eventually(t, "the node to read what was sent", func() bool { return dropped() > before || dropped() >= uint64(sent)/2 })
	}
	eventually(t, "most of the names to arrive", func() bool { return dropped() > names/2 })
	if got := keys() - keysBefore; got > 10 { // the library's own names come one by one
		t.Errorf("%d names were kept", got)
	}
	if before, after := heapBefore, heap(); after > before+4<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
}

// TestHostileNodesCannotKeepAWalkGoing: each names others that are nearer still, and all of them answer.
func TestHostileNodesCannotKeepAWalkGoing(t *testing.T) {
	_, public := newKey(t)
	const many = maxAsked + 64
	var asked atomic.Int32
	var mu sync.Mutex
	var farm []netip.AddrPort
	for i := range many {
		addr := fakeNode(t, func(q krpc.Msg) *krpc.Return {
			r := &krpc.Return{ID: krpc.ID{1}}
			if q.Q != "get" {
				return r
			}
			asked.Add(1)
			nearer := func(i int) krpc.ID { // the later in the farm, the nearer
				id := q.A.Target
				id[18] ^= byte(i >> 8)
				id[19] ^= byte(i)
				return id
			}
			r.ID = nearer(many - i)
			mu.Lock()
			defer mu.Unlock()
			for j := i + 1; j < min(i+9, many); j++ {
				r.Nodes = append(r.Nodes, krpc.NodeInfo{ID: nearer(many - j), Addr: krpc.NodeAddr{IP: farm[j].Addr().AsSlice(), Port: int(farm[j].Port())}})
			}
			return r
		})
		mu.Lock()
		farm = append(farm, addr)
		mu.Unlock()
	}
	n := listen(t, farm[0].String())
	await(t, n.Joined(), "join")
	if _, err := n.Get(t.Context(), public, 0, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want %v", err, ErrNotFound)
	}
	if got := asked.Load(); got > maxAsked || got < maxAsked/2 {
		t.Errorf("%d nodes were asked, want the limit, %d, or nearly", got, maxAsked)
	}
}

func TestTheBudgetOfFindNodeQueries(t *testing.T) {
	c := newGuardedConn(nil, Private, &stats{})
	now := time.Unix(1_800_000_000, 0)
	for i := range findBudget {
		if !c.spend(now) {
			t.Fatalf("query %d of the minute was refused", i)
		}
	}
	if c.spend(now.Add(30 * time.Second)) {
		t.Error("the budget was exceeded")
	}
	if !c.spend(now.Add(time.Minute)) {
		t.Error("the next minute has no budget")
	}
}
