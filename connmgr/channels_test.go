package connmgr

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"traverse.internal/core/mux"
)

// pair connects two devices by one channel and returns both ends.
func pair(t *testing.T, a, b *testDevice, name string) (here, there *mux.Channel) {
	t.Helper()
	accepted := make(chan *mux.Channel, 1)
	go func() {
		in, err := b.Accept(testCtx(t))
		if err != nil {
			return
		}
		if ch, err := in.Accept(); err == nil {
			accepted <- ch
		}
	}()
	here, _, err := a.Connect(testCtx(t), b.self, name)
	if err != nil {
		t.Fatal(err)
	}
	return here, <-accepted
}

func TestReaderLearnsOfTheEndAtOnce(t *testing.T) {
	for _, side := range []string{"sender", "receiver"} {
		t.Run(side+" shuts it", func(t *testing.T) {
			overBoth(t, func(t *testing.T, w *world) {
				a, b := w.device(), w.device()
				here, there := pair(t, a, b, "x")
				if side == "receiver" {
					here, there = there, here
				}
				if _, err := here.Write([]byte("all of it")); err != nil {
					t.Fatal(err)
				}
				_ = here.Close()
				_ = there.SetReadDeadline(time.Now().Add(10 * time.Second))
				got, err := io.ReadAll(there) // io.EOF is what ends it without an error
				if err != nil || string(got) != "all of it" {
					t.Errorf("the other side read %q, %v", got, err)
				}
			})
		})
	}
}

func TestThousandChannelsShutAtOnce(t *testing.T) {
	overBoth(t, func(t *testing.T, w *world) {
		a, b := w.device(), w.device()
		b.echo(t)
		var open []*mux.Channel
		for range 1000 {
			ch, _, err := a.Connect(testCtx(t), b.self, "x")
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, ch)
		}
		var wg sync.WaitGroup
		for _, ch := range open {
			wg.Go(func() { _ = ch.Close() })
		}
		wg.Wait()
		b.until(t, "no channel to be left on either side", func() bool {
			return a.Stats().Channels == 0 && b.Stats().Channels == 0
		})
		if st := a.Stats(); st.ChannelsOpened != 1000 || st.Sessions != 1 {
			t.Errorf("opened %d on %d sessions, want 1000 on 1", st.ChannelsOpened, st.Sessions)
		}
	})
}

func TestCloseWhileSending(t *testing.T) {
	overBoth(t, func(t *testing.T, w *world) {
		a, b := w.device(), w.device()
		here, there := pair(t, a, b, "flood")
		wrote := make(chan error, 1)
		go func() {
			buf := make([]byte, 1<<16)
			for {
				if _, err := here.Write(buf); err != nil {
					wrote <- err
					return
				}
			}
		}()
		if _, err := io.ReadFull(there, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		_ = a.Close()
		if err := <-wrote; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the writer got %v, want one that wraps net.ErrClosed", err)
		}
		_, err := io.Copy(io.Discard, there)
		if err == nil {
			t.Error("the reader saw a clean end of a stream that was cut off")
		}
	})
}

// Nobody answers the channel request: the caller gets a time-out, and the session goes on.
func TestSilentAboutAChannel(t *testing.T) {
	w := newWorld(t)
	a, b := w.device(), w.device()
	_, _, err := a.ConnectWith(testCtx(t), b.self, "unanswered", Options{Timeout: 50 * time.Millisecond})
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("err = %v, want a time-out", err)
	}
	// The late acceptance goes to nobody; the next request is answered.
	in, err := b.Accept(testCtx(t))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = in.Accept()
	here, there := pair(t, a, b, "answered")
	go func() { _, _ = there.Write([]byte("y")) }()
	if _, err := io.ReadFull(here, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if n := a.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions, want the one from before", n)
	}
}

func TestListOfChannels(t *testing.T) {
	w := newWorld(t)
	a, b := w.device(), w.device()
	here, there := pair(t, a, b, "listed")
	if _, err := here.Write(make([]byte, 1234)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(there, make([]byte, 1234)); err != nil {
		t.Fatal(err)
	}
	got := b.Sessions()[0].Channels
	if len(got) != 1 || got[0].Name != "listed" || got[0].ID != here.ID() || !got[0].Inbound || got[0].BytesIn != 1234 || got[0].Opened.IsZero() {
		t.Errorf("channels = %+v", got)
	}
}

// Requests that nobody takes are declined once the queue is full, so that a peer cannot fill memory with them.
func TestRequestsNobodyTakes(t *testing.T) {
	w := newWorld(t)
	a, b := w.device(), w.device(func(c *Config) { c.MaxIncoming = 4 })
	var wg sync.WaitGroup
	busy := make(chan struct{}, 10)
	for range 10 {
		wg.Go(func() {
			_, _, err := a.ConnectWith(testCtx(t), b.self, "x", Options{Timeout: 500 * time.Millisecond})
			var declined *mux.DeclinedError
			if errors.As(err, &declined) && declined.Reason == "busy" {
				busy <- struct{}{}
			}
		})
	}
	wg.Wait()
	if n := len(busy); n != 6 || b.Stats().DeclinedBusy != 6 {
		t.Errorf("%d callers of 10 were told busy, counted %d; want 6", n, b.Stats().DeclinedBusy)
	}
}
