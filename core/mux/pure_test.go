package mux

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"traverse.internal/core/bufpool"
	"traverse.internal/core/framing"
)

func TestRecvWindow(t *testing.T) {
	w := newRecvWindow(100)
	step := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	step("at first the peer has the window", w.room(), uint64(100))
	step("nothing is due", w.due(), false)
	step("60 bytes fit", w.receive(60), true)
	step("41 more do not", w.receive(41), false)
	step("40 more do", w.receive(40), true)
	step("without a reader nothing is due", w.due(), false)
	w.consume(1)
	step("a peer without credit gets what there is", w.due(), true)
	step("and that is", w.announce(), uint64(101))
	step("once", w.due(), false)
	w.consume(99)
	step("a reader that has caught up gives all back", w.announce(), uint64(200))
	w.receive(30)
	w.consume(30)
	step("30 of 100 are not worth a message", w.due(), false)
	w.receive(4)
	w.consume(4)
	step("34 are: half of the 66 that are left", w.due(), true)
	session := newRecvWindow(1000)
	w = newRecvWindow(100)
	w.receive(10)
	w.consume(10)
	step("10 of 100 are not due even when drained", w.dueDrained(&session), false)
	session.receive(500)
	step("but when half of the session's window is gone, and with it three quarters of the share: 10 of 25", w.dueDrained(&session), false)
	session.receive(100)
	step("or six tenths: 10 of 16", w.dueDrained(&session), true)
}

func TestSendWindow(t *testing.T) {
	w := sendWindow{limit: 100}
	w.sent = 80
	if got := w.credit(); got != 20 {
		t.Errorf("credit %d, want 20", got)
	}
	if got := w.held(100); got != 80 {
		t.Errorf("held %d, want 80", got)
	}
	w.raise(150)
	w.raise(120) // late
	if got := w.credit(); got != 70 {
		t.Errorf("credit %d, want 70: it is never taken back", got)
	}
	if got := w.held(100); got != 30 {
		t.Errorf("held %d, want 30: the peer has read 50", got)
	}
	w.raise(1000)
	if got := w.held(100); got != 0 {
		t.Errorf("held %d, want 0", got)
	}
}

func TestShare(t *testing.T) {
	for _, c := range []struct {
		name                     string
		want, credit, held, free uint64
		n                        uint64
	}{
		{"plenty of all", 65_532, 256 << 10, 0, 8 << 20, 65_532},
		{"the channel's credit is the limit", 65_532, 100, 0, 8 << 20, 100},
		{"of its last crumbs none, while the peer has half its share to give back", 65_532, 50_000, 256<<10 - 50_000, 8 << 20, 0},
		{"but all that is wanted", 100, 100, 256<<10 - 100, 8 << 20, 100},
		{"no credit", 10, 0, 256 << 10, 8 << 20, 0},
		{"no session credit", 10, 1000, 0, 0, 0},
		{"half is free: a quarter of the window", 1 << 20, 256 << 10, 0, 4 << 20, 64 << 10},
		{"less what it holds", 1 << 20, 256 << 10, 10_000, 4 << 20, 64<<10 - 10_000},
		{"a channel that holds nothing always gets on", 10, 1000, 0, 1, 1},
	} {
		if n := share(c.want, c.credit, c.held, fairShare(256<<10, c.free, 8<<20), c.free); n != c.n {
			t.Errorf("%s: %d, want %d", c.name, n, c.n)
		}
	}
}

// TestShareOfASessionWindow plays a session whose channels all sleep but one: the sleepers leave it room, and it never
// comes to a standstill.
func TestShareOfASessionWindow(t *testing.T) {
	for _, sleepers := range []int{0, 1, 10, 100, 1000, 8192} {
		t.Run(fmt.Sprint(sleepers), func(t *testing.T) {
			const session, window = 8 << 20, 256 << 10
			out := sendWindow{limit: session}
			in := newRecvWindow(session)
			send := func(c *sendWindow, r *recvWindow) uint64 {
				n := share(65_532, c.credit(), c.held(window), fairShare(window, out.credit(), session), out.credit())
				c.sent += n
				out.sent += n
				if !r.receive(int(n)) || !in.receive(int(n)) {
					t.Fatal("sent beyond a window")
				}
				return n
			}
			for range sleepers {
				c, r := sendWindow{limit: window}, newRecvWindow(window)
				for send(&c, &r) > 0 {
				}
			}
			c, r := sendWindow{limit: window}, newRecvWindow(window)
			moved := uint64(0)
			for range 5_000_000 {
				n := send(&c, &r)
				moved += n
				if n > 0 { // its reader is awake
					r.consume(int(n))
					in.consume(int(n))
				}
				told := false
				if r.due() || r.dueDrained(&in) {
					c.raise(r.announce())
					told = true
				}
				if in.due() {
					out.raise(in.announce())
					told = true
				}
				if n == 0 && !told {
					t.Fatalf("standstill after %d bytes: session has %d left, channel holds %d", moved, out.credit(), c.held(window))
				}
				if moved > 1<<20 {
					t.Logf("%d bytes of the session's window are left, %d a channel's share", out.credit(), fairShare(window, out.credit(), session))
					return
				}
			}
			t.Errorf("%d bytes moved, want 1 MiB", moved)
		})
	}
}

func TestLiveness(t *testing.T) {
	v := liveness{after: 30 * time.Second, timeout: 3 * time.Second}
	for _, c := range []struct {
		name       string
		now, heard time.Duration
		want       sign
		again      time.Duration
	}{
		{"fresh", 0, 0, signWait, 30 * time.Second},
		{"heard 10 s ago", 30 * time.Second, 20 * time.Second, signWait, 20 * time.Second},
		{"silent for 30 s", 50 * time.Second, 20 * time.Second, signAsk, 3 * time.Second},
		{"asked a second ago", 51 * time.Second, 20 * time.Second, signWait, 2 * time.Second},
		{"any byte answers", 53 * time.Second, 52 * time.Second, signWait, 29 * time.Second},
		{"silent again", 82 * time.Second, 52 * time.Second, signAsk, 3 * time.Second},
		{"and still", 85 * time.Second, 52 * time.Second, signDead, 0},
	} {
		got, again := v.tick(c.now, c.heard)
		if got != c.want || again != c.again {
			t.Errorf("%s: %v, %v; want %v, %v", c.name, got, again, c.want, c.again)
		}
	}
}

// TestWatched: a link that is watched is asked sooner, soonest while the peer owes something.
func TestWatched(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	v := liveness{after: 30 * s, timeout: 3 * s, watched: 60 * s}
	for _, c := range []struct {
		name             string
		now, heard, owed time.Duration
		want             sign
		again            time.Duration
	}{
		{"idle", 2 * s, 0, 0, signWait, 250 * ms},
		{"idle for 5 s", 5 * s, 0, 0, signAsk, 250 * ms},
		{"answered", 6 * s, 5*s + 100*ms, 0, signWait, 250 * ms},
		{"owed, heard just now", 6 * s, 5900 * ms, 250 * ms, signWait, 150 * ms},
		{"owed for too long", 6200 * ms, 5900 * ms, 250 * ms, signAsk, 250 * ms},
		{"no answer yet", 9 * s, 5900 * ms, 250 * ms, signWait, 200 * ms},
		{"dead", 9200 * ms, 5900 * ms, 250 * ms, signDead, 0},
	} {
		v.owed = c.owed
		if got, again := v.tick(c.now, c.heard); got != c.want || again != c.again {
			t.Errorf("%s: %v, %v; want %v, %v", c.name, got, again, c.want, c.again)
		}
	}
	v = liveness{after: 30 * s, timeout: 3 * s, watched: 60 * s, owed: 250 * ms}
	if got, again := v.tick(60*s, 59*s); got != signWait || again != 1*s {
		t.Errorf("afterwards, owed: %v, %v; want to wait until 2 s of silence", got, again)
	}
	if got, again := v.tick(61*s, 59*s); got != signAsk || again != 3*s {
		t.Errorf("afterwards, owed for 2 s: %v, %v; want to ask", got, again)
	}
	v = liveness{after: 30 * s, timeout: 3 * s, watched: 60 * s}
	if got, again := v.tick(60*s, 55*s); got != signWait || again != 25*s {
		t.Errorf("afterwards, idle: %v, %v; want to wait for 25 s", got, again)
	}
}

// TestRing: who comes when.
func TestRing(t *testing.T) {
	var r ring
	bulk1, bulk2, ping := &Channel{name: "bulk1"}, &Channel{name: "bulk2"}, &Channel{name: "ping"}
	r.enter(bulk1)
	r.enter(bulk2)
	r.enter(bulk1) // again, no effect
	r.served(bulk1, true)
	r.served(bulk2, true)
	r.enter(ping)
	order := ""
	for !r.empty() && len(order) < 100 {
		c := *func() **Channel {
			if r.fresh.len() > 0 {
				return r.fresh.front()
			}
			return r.backlog.front()
		}()
		order += c.name + " "
		r.served(c, c != ping && len(order) < 30)
	}
	if want := "ping bulk1 bulk2 bulk1 bulk2 bulk1 bulk2 "; order != want {
		t.Errorf("order %q, want %q", order, want)
	}
}

func TestQueue(t *testing.T) {
	var q queue[int]
	var model []int
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 10_000 {
		switch op := r.IntN(8); {
		case op < 4:
			q.push(i)
			model = append(model, i)
		case op < 6 && len(model) > 0:
			if got := q.pop(); got != model[0] {
				t.Fatalf("pop: %d, want %d", got, model[0])
			}
			model = model[1:]
		case op == 6 && len(model) > 0:
			if got := q.popBack(); got != model[len(model)-1] {
				t.Fatalf("popBack: %d, want %d", got, model[len(model)-1])
			}
			model = model[:len(model)-1]
		case op == 7 && len(model) > 0:
			k := r.IntN(len(model))
			x := model[k]
			if !q.remove(func(v int) bool { return v == x }) {
				t.Fatalf("remove: %d not found", x)
			}
			model = append(model[:k:k], model[k+1:]...)
		}
		if q.len() != len(model) {
			t.Fatalf("len %d, want %d", q.len(), len(model))
		}
		for j, v := range model {
			if *q.at(j) != v {
				t.Fatalf("item %d is %d, want %d", j, *q.at(j), v)
			}
		}
	}
	if q.remove(func(int) bool { return false }) {
		t.Error("removed what does not match")
	}
}

// TestRetained adds frames, acknowledges at borders and reads back from any border.
func TestRetained(t *testing.T) {
	codec := framing.Native{}
	r := rand.New(rand.NewPCG(3, 4))
	var kept retained
	defer kept.release()
	var all []byte
	borders := []uint64{0}
	buf, used := bufpool.Get(1<<10), 0
	mem := buf.Bytes()
	for range 500 {
		frame := codec.AppendHeader(nil, framing.Header{Length: uint16(r.IntN(100)), Channel: 5})
		frame = append(frame, make([]byte, int(frame[0])<<8+int(frame[1]))...)
		if used+len(frame) > len(mem) || r.IntN(10) == 0 {
			buf.Release()
			buf, used = bufpool.Get(1<<10), 0
			mem = buf.Bytes()
		}
		if r.IntN(4) == 0 && used+8+len(frame) <= len(mem) {
			used += 8 // something that is not retained lies between
		}
		copy(mem[used:], frame)
		kept.add(buf, mem[used:used+len(frame)])
		used += len(frame)
		all = append(all, frame...)
		borders = append(borders, uint64(len(all)))

		at := borders[r.IntN(len(borders))]
		if at >= kept.acked && r.IntN(5) == 0 {
			if !kept.resumable(codec, at) || !kept.ack(at) {
				t.Fatalf("ack at the border %d refused", at)
			}
			kept.trim(kept.sent)
		}
		if inside := at + 1; inside > kept.acked && inside < kept.sent && kept.resumable(codec, inside) {
			t.Fatalf("resumable inside a frame, %d", inside)
		}
	}
	buf.Release()
	if kept.ack(kept.sent+1) || kept.resumable(codec, kept.sent+1) {
		t.Error("ack beyond what was sent taken")
	}
	for _, at := range borders {
		if at < kept.acked {
			continue
		}
		var got []byte
		for pos := at; pos < kept.sent; pos = at + uint64(len(got)) {
			run := kept.from(pos)
			got = append(got, run.data...)
			run.release()
		}
		if !bytes.Equal(got, all[at:]) {
			t.Fatalf("from %d: %d bytes, not what was added", at, len(got))
		}
	}
}
