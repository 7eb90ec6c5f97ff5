package mux_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/bufpool"
	"traverse.internal/core/framing"
	"traverse.internal/core/mux"
)

// idle lets all that is under way end, ACKs included.
func idle(t *testing.T) {
	t.Helper()
	time.Sleep(time.Second) // in the bubble
	synctest.Wait()
}

// TestOpenCostsTwoFrames: a channel on a live session costs one frame on channel 0 and one write each way. ACKs come
// later, together.
func TestOpenCostsTwoFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		la, lb := wire(wireSize)
		a, b := sessions(t, la, lb, mux.Config{}, mux.Config{})
		open(t, a, b, "first")
		idle(t)
		la.out.record, lb.out.record = &bytes.Buffer{}, &bytes.Buffer{}
		writesA, writesB := la.out.writeCount(), lb.out.writeCount()
		began := time.Now()

		open(t, a, b, "second")
		synctest.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v, want nothing to wait for", took)
		}
		for name, side := range map[string]*side{"opener": la, "accepter": lb} {
			headers, _ := frames(t, side.out.recorded())
			if len(headers) != 1 || headers[0].Channel != framing.Control {
				t.Errorf("%s sent %v, want one frame on channel 0", name, headers)
			}
		}
		if n := la.out.writeCount() - writesA; n != 1 {
			t.Errorf("opener wrote %d times, want 1", n)
		}
		if n := lb.out.writeCount() - writesB; n != 1 {
			t.Errorf("accepter wrote %d times, want 1", n)
		}
		idle(t)
		for name, side := range map[string]*side{"opener": la, "accepter": lb} {
			headers, _ := frames(t, side.out.recorded())
			if len(headers) != 2 || headers[1].Channel != framing.SessionChannel {
				t.Errorf("%s sent %v, want an ACK besides", name, headers)
			}
		}
	})
}

// TestBulkCosts: bodies of 65,532 bytes, one write of four TLS records each, one ACK per 64 KiB, and few credits.
func TestBulkCosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const length = 64 * framing.BulkBody
		la, lb := wire(wireSize)
		a, b := sessions(t, la, lb, mux.Config{}, mux.Config{})
		from, to := open(t, a, b, "bulk")
		idle(t)
		la.out.record = &bytes.Buffer{}
		writesA := la.out.writeCount()
		before := b.Stats()
		go func() {
			_, _ = from.Write(make([]byte, length))
		}()
		if _, err := io.ReadFull(to, make([]byte, length)); err != nil {
			t.Fatal(err)
		}
		idle(t)
		headers, _ := frames(t, la.out.recorded())
		long := 0
		for _, h := range headers {
			if h.Length == framing.BulkBody {
				long++
			}
			if h.Channel == framing.SessionChannel {
				t.Errorf("the sender sent session messages")
			}
		}
		if long < 60 {
			t.Errorf("%d of %d bodies have 65,532 bytes, want nearly all: %v", long, len(headers), headers)
		}
		if n := la.out.writeCount() - writesA; n != len(headers) {
			t.Errorf("%d writes for %d frames, want one each", n, len(headers))
		}
		after := b.Stats()
		if n := after.AcksOut - before.AcksOut; n > 66 {
			t.Errorf("%d ACKs, want one per 64 KiB", n)
		}
		if n := after.ControlFramesOut - before.ControlFramesOut - (after.AcksOut - before.AcksOut); n > 66 {
			t.Errorf("%d credits for 4 MiB, want at most one per frame", n)
		}
		t.Logf("%d frames, %d acks, %d other", len(headers), after.AcksOut-before.AcksOut, after.ControlFramesOut-before.ControlFramesOut-(after.AcksOut-before.AcksOut))
	})
}

// TestWritesAreGathered: what channels queue while a write is under way goes out in one.
func TestWritesAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		la, lb := wire(wireSize)
		a, b := sessions(t, la, lb, mux.Config{}, mux.Config{})
		var from, to []*mux.Channel
		for range 50 {
			f, c := open(t, a, b, "x")
			from, to = append(from, f), append(to, c)
		}
		idle(t)
		lb.in.hold(true)
		if _, err := from[0].Write(make([]byte, 150_000)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the link is full, a write is under way
		before := a.Stats()
		for _, f := range from[1:] {
			if _, err := f.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		lb.in.hold(false)
		if _, err := io.ReadFull(to[0], make([]byte, 150_000)); err != nil {
			t.Fatal(err)
		}
		for _, c := range to[1:] {
			if _, err := io.ReadFull(c, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		after := a.Stats()
		if n := after.LinkWrites - before.LinkWrites; n > 3 {
			t.Errorf("%d writes for 49 messages and the rest of a long one, want at most 3", n)
		}
	})
}

// TestShortMessagesOvertakeBulk: with ten channels of bulk and a link that delivers step by step, a short message waits
// for at most two bulk frames besides what the link has taken.
func TestShortMessagesOvertakeBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		la, lb := wire(16 << 10)
		a, b := sessions(t, la, lb, mux.Config{}, mux.Config{})
		for range 10 {
			f, c := open(t, a, b, "bulk")
			go func() { _, _ = f.Write(make([]byte, 1<<30)) }()
			go func() { _, _ = io.Copy(io.Discard, c) }()
		}
		f, c := open(t, a, b, "ping")
		for range 50 {
			before := a.Stats().BytesOut
			if _, err := f.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			// What has left meanwhile, the reader's own lag of some goroutine switches included.
			if n := a.Stats().BytesOut - before; n > 20*framing.BulkBody {
				t.Errorf("%d bytes went before a ping", n)
			}
		}
		a.Close()
	})
}

// TestNoAllocations: in steady state bulk needs no heap, on either side.
func TestNoAllocations(t *testing.T) {
	if raceEnabled || bufpool.Debug {
		t.Skip("sync.Pool drops buffers at random under the race detector: allocations cannot be counted; so does the tag bufdebug")
	}
	la, lb := net.Pipe()
	a, b := sessions(t, la, lb, mux.Config{}, mux.Config{})
	from, to := open(t, a, b, "bulk")
	out, in := make([]byte, framing.BulkBody), make([]byte, framing.BulkBody)
	move := func() {
		if _, err := from.Write(out); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(to, in); err != nil {
			t.Fatal(err)
		}
	}
	for range 200 {
		move()
	}
	// Counted is all the process does: sender, receiver, ACKs and credits. A garbage collection may empty the buffer
	// pool in between, hence not 0.
	if n := testing.AllocsPerRun(2000, move); n > 0.5 {
		t.Errorf("%v allocations a frame, want 0", n)
	}
	small := out[:100]
	move = func() {
		for range 10 {
			if _, err := from.Write(small); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.ReadFull(to, in[:1000]); err != nil {
			t.Fatal(err)
		}
	}
	for range 200 {
		move()
	}
	if n := testing.AllocsPerRun(2000, move); n > 0.5 {
		t.Errorf("%v allocations for ten short messages, want 0", n)
	}
}

// TestOneWritePerWrite: 64 KiB, 4 bytes more than a frame takes, is two frames and still one write on the link; of
// other lengths around it nothing gets lost either.
func TestOneWritePerWrite(t *testing.T) {
	for _, c := range []struct {
		size, writes int // per Write
	}{
		{framing.BulkBody - 1, 1},
		{framing.BulkBody, 1},
		{framing.BulkBody + 1, 1},
		{64 << 10, 1},
		{framing.BulkBody + 4<<10, 1},
		{framing.BulkBody + 4<<10 + 1, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := newPair(t)
			from, to := open(t, a, b, "x")
			synctest.Wait()
			before := a.Stats()
			const times = 3 // within the window
			data := make([]byte, c.size)
			for i := range uint64(times) {
				fill(data, i)
				if _, err := from.Write(data); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				got := make([]byte, c.size)
				if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, data) {
					t.Fatalf("%d bytes: not what was written, %v", c.size, err)
				}
			}
			synctest.Wait()
			if n := a.Stats().LinkWrites - before.LinkWrites; int(n) > c.writes*times {
				t.Errorf("%d bytes: %d writes on the link for %d, want %d each", c.size, n, times, c.writes)
			}
		})
	}
}
