package turn

import (
	"encoding/binary"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"traverse.internal/core/stun"
	"traverse.internal/turn/alloc"
)

// A million Allocates from a million addresses, as a worker takes them off a socket, leave nothing behind: no state before
// authentication, and no memory, on the heap or beside it.
func TestStrangersLeaveNothing(t *testing.T) {
	n := 1_000_000
	if raceEnabled {
		n /= 20
	}
	s := startServer(t, func(c *Config) { c.Shards = 1 })
	sh := s.shards[0]
	dialUDP(t, s).ask(stun.MethodBinding) // the shard works, and has the buffers it needs
	sink := newPeer(t, loop4)             // takes the answers; most sources had theirs before
	w := newWorker(sh)
	b := stun.New(nil, stun.MethodAllocate.Request(), stun.TransactionID{})
	wantUDP(&b)
	packet := b.Bytes()
	tuple := alloc.FiveTuple{Server: sh.listeners[0].local, Transport: alloc.UDP}
	request := func(i int) {
		binary.BigEndian.PutUint32(packet[8:], uint32(i))
		tuple.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), uint16(i|1))
		msg, err := stun.Parse(packet)
		if err != nil {
			t.Fatal(err)
		}
		r := &w.request
		r.take(sh, s.now(), tuple, msg, w.buf[:0])
		r.listener = sh.listeners[0]
		if answer := r.serve(); answer != nil && i%1000 == 0 {
			sink.send(sink.addr, answer)
		}
	}
	memory := func() (heap, resident int) {
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc), residentMemory(t)
	}
	for i := range n / 10 { // the runtime has what it needs for that many a second
		request(i)
	}
	// What leaks does so every time; what the rest of the process takes meanwhile does not.
	for try := 1; ; try++ {
		heap, resident := memory()
		for i := range n {
			request(i)
		}
		heapAfter, residentAfter := memory()
		t.Logf("%d spoofed Allocates: the heap grew by %d bytes, resident memory by %d", n, heapAfter-heap, residentAfter-resident)
		if heapAfter <= heap+1<<20 && (residentAfter <= resident+1<<20 || raceEnabled) {
			break
		}
		if try == 3 {
			t.Fatal("it grows by more than 1 MiB every time")
		}
	}
	runtime.KeepAlive(w)
	if sh.table.Len() != 0 || s.ledger.Total() != 0 {
		t.Error("a stranger has state")
	}
	if got := s.Stats().Requests; got < uint64(n) {
		t.Errorf("%d requests were understood, want %d", got, n)
	}
}

// residentMemory is what the process has in memory, in bytes.
func residentMemory(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// What a stranger sends over UDP allocates nothing, whatever it is: so a flood of it leaves nothing for the collector to find, and
// no memory grows with it.
func TestStrangersAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := startServer(t, func(c *Config) { c.Shards, c.StrangerRate = 1, 1_000_000_000 })
	sh := s.shards[0]
	client := dialUDP(t, s)
	client.login()
	signed := client.build(stun.MethodAllocate, wantUDP) // another source's nonce
	bare := func(m stun.Method, add ...attrs) []byte {
		b := stun.New(nil, m.Request(), stun.NewTransactionID())
		for _, a := range add {
			a(&b)
		}
		return b.Bytes()
	}
	for _, c := range []struct {
		name   string
		packet []byte
	}{
		{"Allocate", bare(stun.MethodAllocate, wantUDP)},
		{"Allocate that asks for nothing", bare(stun.MethodAllocate)},
		{"Allocate with somebody's nonce", signed},
		{"Refresh", bare(stun.MethodRefresh, wantUDP)},
		{"Binding", bare(stun.MethodBinding)},
		{"a method that is none", bare(stun.Method(0x7ff))},
		{"an attribute not understood", bare(stun.MethodBinding, raw(stun.AttrType(0x7fff), 1))},
		{"garbage", []byte("\x00\x01 this is none")},
		{"ChannelData on nothing", channelData(0x4000, make([]byte, 100))},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorker(sh)
			tuple := alloc.FiveTuple{Server: sh.listeners[0].local, Transport: alloc.UDP}
			i, answers := 0, 0
			got := testing.AllocsPerRun(2000, func() {
				i++
				tuple.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), uint16(i|1))
				if isChannel(c.packet[0]) {
					w.uplink.channelData(s.now(), tuple, c.packet)
					w.uplink.flush()
					return
				}
				msg, err := stun.Parse(c.packet)
				if err != nil {
					sh.stats.drop(DropGarbage)
					return
				}
				r := &w.request
				r.take(sh, s.now(), tuple, msg, w.buf[:0])
				r.listener = sh.listeners[0]
				if r.serve() != nil {
					answers++
				}
			})
			if got != 0 {
				t.Errorf("%v heap allocations each, want none (%d of %d were answered)", got, answers, i)
			}
		})
	}
}
