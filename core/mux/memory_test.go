package mux_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/framing"
	"traverse.internal/core/mux"
)

// TestSleepingReaders floods 1,000 channels whose readers sleep. Memory stays within doc.go's arithmetic on both sides,
// and a channel whose reader is awake goes on, as do requests; when the others wake nothing is missing.
func TestSleepingReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const channels, each = 1000, 100_000
		const window = 8 << 20
		a, b := newPair(t)
		var from, to []*mux.Channel
		for range channels {
			f, c := open(t, a, b, "sleeper")
			from, to = append(from, f), append(to, c)
		}
		data := make([]byte, each)
		fill(data, 9)
		var writers sync.WaitGroup
		for _, f := range from {
			writers.Go(func() {
				if n, err := f.Write(data); n != len(data) || err != nil {
					t.Errorf("wrote %d, %v", n, err)
				}
				f.CloseWrite()
			})
		}
		synctest.Wait()
		st := b.Stats()
		t.Logf("receiver: %d bytes unread in %d bytes of buffers; sender: %d queued, %d retained, %d free", st.Unread, st.ReceiveMemory,
			a.Stats().Queued, a.Stats().Retained, a.Stats().Credit)
		if st.Unread > window || st.Unread < window*3/4 {
			t.Errorf("%d bytes unread, want most of %d and no more", st.Unread, window)
		}
		if most := 4*window + channels*512; st.ReceiveMemory > most {
			t.Errorf("%d bytes of receive buffers, want at most %d", st.ReceiveMemory, most)
		}
		if st := a.Stats(); st.Queued+st.Retained > window {
			t.Errorf("%d bytes queued and %d retained, want at most %d together", st.Queued, st.Retained, window)
		}

		// One whose reader is awake.
		f, c := open(t, a, b, "awake")
		go func() {
			_, _ = f.Write(data)
			f.CloseWrite()
		}()
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
			t.Errorf("among sleepers: %d bytes, %v; want %d", len(got), err, len(data))
		}

		var readers sync.WaitGroup
		for _, c := range to {
			readers.Go(func() {
				if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
					t.Errorf("woken: %d bytes, %v; want %d", len(got), err, len(data))
				}
			})
		}
		readers.Wait()
		writers.Wait()
		if st := b.Stats(); st.Unread != 0 || st.ReceiveMemory != 0 {
			t.Errorf("%d bytes unread in %d of memory at the end, want 0", st.Unread, st.ReceiveMemory)
		}
	})
}

// TestSmallFrames: bodies of a byte, of odd sizes and in bad mixtures take no more than four times their memory, and a
// slow reader's rest moves to a smaller buffer.
func TestSmallFrames(t *testing.T) {
	const id = framing.FirstOfferer
	for _, c := range []struct {
		name  string
		sizes []int
		most  int // times the bytes
	}{
		{"one byte", []int{1}, 2},
		{"a byte and 4 KiB", []int{1, 4096}, 3},
		{"a byte and 4,800", []int{1, 4800}, 3},
		{"just beyond each class", []int{513, 2241, 4801, 18_369}, 5},
		{"bulk", []int{framing.BulkBody}, 2},
		{"16 KiB", []int{framing.FineBody}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, s := rawOfferer(t, mux.Config{})
				ch := p.request(s, id)
				sent := 0
				for i := 0; ; i++ {
					n := c.sizes[i%len(c.sizes)]
					if sent+n > framing.MinInitialWindow || i > 100_000 {
						break
					}
					p.data(id, make([]byte, n))
					sent += n
				}
				synctest.Wait()
				st := s.Stats()
				if st.Unread != sent || st.ReceiveMemory > c.most*sent {
					t.Errorf("%d of %d bytes in %d of memory, want at most %d times as much", st.Unread, sent, st.ReceiveMemory, c.most)
				}
				// Read all but a byte.
				if _, err := io.ReadFull(ch, make([]byte, sent-1)); err != nil {
					t.Fatal(err)
				}
				if st := s.Stats(); st.Unread != 1 || st.ReceiveMemory > 512 {
					t.Errorf("%d bytes in %d of memory, want 1 in 512", st.Unread, st.ReceiveMemory)
				}
			})
		})
	}
}

// TestSmallWrites: many writes of a byte, while the link does not take them, make few frames and little memory.
func TestSmallWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		la, lb := wire(wireSize)
		a, b := sessions(t, la, lb, mux.Config{}, mux.Config{})
		from, to := open(t, a, b, "x")
		synctest.Wait()
		before := a.Stats()
		lb.in.hold(true)
		if _, err := from.Write(make([]byte, 200_000)); err != nil { // more than the link takes
			t.Fatal(err)
		}
		synctest.Wait()
		for range 20_000 {
			if _, err := from.Write([]byte{1}); err != nil {
				t.Fatal(err)
			}
		}
		lb.in.hold(false)
		if _, err := io.ReadFull(to, make([]byte, 220_000)); err != nil {
			t.Fatal(err)
		}
		after := a.Stats()
		if n := after.FramesOut - before.FramesOut; n > 10 {
			t.Errorf("%d frames for 220,000 bytes, want at most 10", n)
		}
		if n := after.LinkWrites - before.LinkWrites; n > 10 {
			t.Errorf("%d writes on the link for 220,000 bytes, want at most 10", n)
		}
	})
}

// TestPeerThatNeverAcknowledges, and lets us send without end, does not make us keep more than our own limit.
func TestPeerThatNeverAcknowledges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := rawOfferer(t, mux.Config{SessionWindow: framing.MinSessionWindow})
		ch := p.request(s, framing.FirstOfferer)
		p.control(&framing.MaxSession{Offset: framing.MaxOffset}, &framing.Max{Channel: ch.ID(), Offset: framing.MaxOffset})
		go func() { _, _ = io.Copy(io.Discard, p.link) }()
		began := time.Now()
		if err := ch.SetWriteDeadline(began.Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := ch.Write(make([]byte, 1<<30))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %v, want os.ErrDeadlineExceeded", err)
		}
		if st := s.Stats(); n > framing.MinSessionWindow+framing.BulkBody || st.Retained+st.Queued < framing.MinSessionWindow {
			t.Errorf("took %d bytes, %d retained and %d queued; want 1 MiB", n, st.Retained, st.Queued)
		}
		if st := s.Stats(); st.WriteStalls == 0 || st.WriteStallTime != 20*time.Second {
			t.Errorf("%d stalls of %v counted, want 20s", st.WriteStalls, st.WriteStallTime)
		}
	})
}

// TestIdleSessionHoldsNothing: a session that was busy and is not.
func TestIdleSessionHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t)
		f, c := open(t, a, b, "x")
		go func() { _, _ = f.Write(make([]byte, 1<<20)) }()
		if _, err := io.ReadFull(c, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		idle(t)
		for name, s := range map[string]*mux.Session{"sender": a, "receiver": b} {
			if st := s.Stats(); st.Queued != 0 || st.Retained != 0 || st.ReceiveMemory != 0 {
				t.Errorf("idle %s: %d queued, %d retained, %d received; want nothing", name, st.Queued, st.Retained, st.ReceiveMemory)
			}
		}
	})
}

// TestChannelsAreSmall weighs an idle channel, both ends of it.
func TestChannelsAreSmall(t *testing.T) {
	const channels = 4000
	a, b := newPair(t)
	weigh := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	empty := weigh()
	all := make([]*mux.Channel, 0, 2*channels)
	for range channels {
		f, c := open(t, a, b, "x")
		all = append(all, f, c)
	}
	if each := (weigh() - empty) / (2 * channels); each > 2500 {
		t.Errorf("an end of a channel takes %d bytes, want at most 2,500", each)
	} else {
		t.Logf("an end of a channel takes %d bytes", each)
	}
	runtime.KeepAlive(all)
}
