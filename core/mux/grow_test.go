package mux_test

import (
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/mux"
)

// slowHalf is one direction of a link of any bandwidth on which every byte takes a while.
type slowHalf struct {
	mu     sync.Mutex
	cond   *sync.Cond
	delay  time.Duration
	flying []parcel
	closed bool
}

type parcel struct {
	due  time.Time
	data []byte
}

func newSlowHalf(delay time.Duration) *slowHalf {
	h := &slowHalf{delay: delay}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *slowHalf) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return 0, io.ErrClosedPipe
	}
	h.flying = append(h.flying, parcel{time.Now().Add(h.delay), append([]byte(nil), p...)})
	time.AfterFunc(h.delay, h.cond.Broadcast)
	return len(p), nil
}

func (h *slowHalf) Read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for !h.closed && (len(h.flying) == 0 || time.Now().Before(h.flying[0].due)) {
		h.cond.Wait()
	}
	if h.closed {
		return 0, io.EOF
	}
	first := &h.flying[0]
	n := copy(p, first.data)
	if first.data = first.data[n:]; len(first.data) == 0 {
		h.flying = h.flying[1:]
	}
	return n, nil
}

func (h *slowHalf) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.cond.Broadcast()
}

type slowSide struct{ in, out *slowHalf }

func (e slowSide) Read(p []byte) (int, error)  { return e.in.Read(p) }
func (e slowSide) Write(p []byte) (int, error) { return e.out.Write(p) }

func (e slowSide) Close() error {
	e.in.close()
	e.out.close()
	return nil
}

// slowPair is a session over a link with a round trip of twice the delay.
func slowPair(t *testing.T, delay time.Duration, cfg mux.Config) (a, b *mux.Session) {
	ab, ba := newSlowHalf(delay), newSlowHalf(delay)
	return sessions(t, slowSide{ba, ab}, slowSide{ab, ba}, cfg, cfg)
}

// pourInto writes without end, until the channel fails.
func pourInto(c *mux.Channel) {
	p := make([]byte, 256<<10)
	for {
		if _, err := c.Write(p); err != nil {
			return
		}
	}
}

// window returns the receive window of a session's channel.
func window(t *testing.T, s *mux.Session, c *mux.Channel) int {
	t.Helper()
	for _, info := range s.Channels() {
		if info.ID == c.ID() {
			return info.Window
		}
	}
	t.Fatal("no such channel")
	return 0
}

// TestWindowGrowsWithThePath: at 50 ms each way a channel soon carries WindowMax per round trip, in memory that stays
// within SessionWindow; a sleeper among the wide leaves room to others, and an end gives back what it had.
func TestWindowGrowsWithThePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const trip, most, session = 100 * time.Millisecond, 16 << 20, 24 << 20
		a, b := slowPair(t, trip/2, mux.Config{})
		from, to := open(t, a, b, "bulk")
		go pourInto(from)
		read := make([]byte, 1<<20)
		drain := func(c *mux.Channel, d time.Duration) int {
			n := 0
			for began := time.Now(); time.Since(began) < d; {
				k, err := c.Read(read)
				if err != nil {
					t.Error(err)
					return n
				}
				n += k
				if st := b.Stats(); st.Unread > session {
					t.Errorf("%d bytes unread, want at most %d", st.Unread, session)
				}
				if st := a.Stats(); st.Queued+st.Retained > session+1<<20 {
					t.Errorf("%d bytes queued and %d retained, want at most %d together", st.Queued, st.Retained, session)
				}
			}
			return n
		}
		if w := window(t, b, to); w != 256<<10 {
			t.Errorf("window of %d at first, want 256 KiB", w)
		}
		n := drain(to, 2*time.Second)
		t.Logf("%d bytes in the first 2 s; window %d, round trip %v", n, window(t, b, to), b.Stats().RoundTrip)
		if w := window(t, b, to); w != most {
			t.Errorf("window of %d after 20 round trips, want %d", w, most)
		}
		if got := b.Stats().RoundTrip; got != trip {
			t.Errorf("round trip %v measured, want %v", got, trip)
		}
		const trips = 6
		if n := drain(to, trips*trip); n < trips*most*9/10 {
			t.Errorf("%d bytes in %d round trips, want %d of a window each", n, trips, most)
		} else {
			t.Logf("%.2f windows a round trip", float64(n)/trips/most)
		}

		// Its reader sleeps now, with a full window. Another one still gets its share of the rest.
		time.Sleep(time.Second) // in the bubble
		if st := b.Stats(); st.Unread > most || st.Unread < most*7/8 || st.ReceiveMemory > most*5/4 {
			t.Errorf("sleeper: %d bytes unread in %d of memory, want nearly %d in little more", st.Unread, st.ReceiveMemory, most)
		}
		second, awake := open(t, a, b, "second")
		go pourInto(second)
		drain(awake, 2*time.Second)
		if n := drain(awake, trips*trip); n < trips*2<<20 {
			t.Errorf("beside a sleeper: %d bytes in %d round trips, want 2 MiB each", n, trips)
		}

		// The sleeper is gone: its room is there for others.
		from.Close()
		to.Close()
		drain(awake, 2*time.Second)
		if w := window(t, b, awake); w != most {
			t.Errorf("window of %d after the other channel's end, want %d", w, most)
		}
	})
}

// TestWideWindowsAreShared: the second of two that want all gets a quarter of the first one's at least.
func TestWideWindowsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := slowPair(t, 50*time.Millisecond, mux.Config{SessionWindow: 6 << 20})
		var ends []*mux.Channel
		for range 3 {
			from, to := open(t, a, b, "bulk")
			go pourInto(from)
			go func() { _, _ = io.Copy(io.Discard, to) }()
			ends = append(ends, to)
			time.Sleep(2 * time.Second) // in the bubble: the first has the time to take all
		}
		sum, least, most := 0, 1<<30, 0
		for _, to := range ends {
			w := window(t, b, to)
			sum, least, most = sum+w, min(least, w), max(most, w)
		}
		t.Logf("windows of %d to %d", least, most)
		if most > 4*least {
			t.Errorf("windows of %d and %d, want no more than 4 times the other", least, most)
		}
		if sum-3*256<<10 > 4<<20 {
			t.Errorf("windows of %d together, beyond two thirds of the session's", sum)
		}
	})
}

// TestWindowStays when it is not what limits: with a slow reader, or a short way.
func TestWindowStays(t *testing.T) {
	for _, c := range []struct {
		name  string
		delay time.Duration
		piece int // read every 100 ms
	}{
		{"a reader of a sixth of the path", 50 * time.Millisecond, 40 << 10},
		{"a reader that wakes now and then, on a short way", time.Millisecond, 256 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := slowPair(t, c.delay, mux.Config{})
				from, to := open(t, a, b, "bulk")
				go pourInto(from)
				p := make([]byte, c.piece)
				for range 100 {
					time.Sleep(100 * time.Millisecond) // in the bubble
					if _, err := io.ReadFull(to, p); err != nil {
						t.Fatal(err)
					}
				}
				if w := window(t, b, to); w != 256<<10 {
					t.Errorf("window of %d, want 256 KiB", w)
				}
			})
		})
	}
}
