package mux_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/framing"
	"traverse.internal/core/mux"
)

// TestOpen: accepted, declined with a reason, the same name twice, a name that cannot be one.
func TestOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t)
		go func() {
			for i := 0; ; i++ {
				r, err := b.Accept(t.Context())
				if err != nil {
					return
				}
				if strings.HasPrefix(r.Name(), "no") {
					if err := r.Decline("because of " + r.Name()); err != nil {
						t.Error(err)
					}
					if _, err := r.Accept(); !errors.Is(err, mux.ErrWithdrawn) {
						t.Errorf("accept after decline: %v, want ErrWithdrawn", err)
					}
					continue
				}
				ch, err := r.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				fmt.Fprintf(ch, "%s %d", r.Name(), i)
				ch.Close()
			}
		}()
		read := func(name string) string {
			ch, err := a.Open(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			defer ch.Close()
			got, err := io.ReadAll(ch)
			if err != nil {
				t.Error(err)
			}
			return string(got)
		}
		if got := read("twin"); got != "twin 0" {
			t.Errorf("got %q", got)
		}
		var declined *mux.DeclinedError
		_, err := a.Open(t.Context(), "no way")
		if !errors.As(err, &declined) || declined.Name != "no way" || declined.Reason != "because of no way" {
			t.Errorf("declined: %v", err)
		}
		if got := read("twin"); got != "twin 2" {
			t.Errorf("got %q", got)
		}
		for _, name := range []string{"", strings.Repeat("x", 1025), "\xff"} {
			var bad *framing.NameError
			if _, err := a.Open(t.Context(), name); !errors.As(err, &bad) {
				t.Errorf("name %.10q: %v, want a *framing.NameError", name, err)
			}
		}
		if st := b.Stats(); st.Accepted != 2 || st.Declined != 1 || st.Pending != 0 {
			t.Errorf("accepted %d, declined %d, pending %d; want 2, 1, 0", st.Accepted, st.Declined, st.Pending)
		}
	})
}

// TestManyOpenAtOnce: a thousand requests wait their turn, none is lost, all channels are each other's.
func TestManyOpenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const channels = 1000
		a, b := newPair(t)
		go func() {
			for {
				r, err := b.Accept(t.Context())
				if err != nil {
					return
				}
				ch, err := r.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				go func() {
					_, _ = io.Copy(ch, ch)
					ch.Close()
				}()
			}
		}()
		var all sync.WaitGroup
		var mu sync.Mutex
		numbers := map[framing.ChannelID]bool{}
		for i := range channels {
			all.Go(func() {
				ch, err := a.Open(t.Context(), "echo")
				if err != nil {
					t.Error(err)
					return
				}
				defer ch.Close()
				mu.Lock()
				if numbers[ch.ID()] {
					t.Errorf("number %#x twice", ch.ID())
				}
				numbers[ch.ID()] = true
				mu.Unlock()
				want := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 500)
				_, _ = ch.Write(want)
				ch.CloseWrite()
				if got, err := io.ReadAll(ch); err != nil || !bytes.Equal(got, want) {
					t.Errorf("channel %d: %d bytes, %v", i, len(got), err)
				}
			})
		}
		all.Wait()
		synctest.Wait()
		if n := len(a.Channels()) + len(b.Channels()); n != 0 {
			t.Errorf("%d channels are left, want 0", n)
		}
	})
}

// TestOpenTimesOut: the error says so, the request is taken back, and the number rests until the peer has answered.
func TestOpenTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := rawAnswerer(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := s.Open(ctx, "slow")
		var open *mux.OpenError
		if !errors.As(err, &open) || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want an *OpenError that is os.ErrDeadlineExceeded", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v, want 1s", took)
		}
		q := until[*framing.ChannelRequest](p)
		if m := until[*framing.Reset](p); m.Channel != q.ID || m.Code != framing.CodeTimeout {
			t.Errorf("got %+v, want RESET of %d with code %v", m, q.ID, framing.CodeTimeout)
		}
		// The answer that crosses is nobody's any more, and what the peer sends on the channel is thrown away.
		p.control(&framing.ChannelRequest{ID: q.ID, Name: q.Name, IsAnswer: true, Accepted: true})
		p.data(q.ID, []byte("too late"))
		synctest.Wait()
		if st := s.Stats(); st.StrayAnswers != 1 || st.Dropped != 1 || st.OpenTimeouts != 1 {
			t.Errorf("%d stray answers, %d dropped, %d time-outs; want 1 each", st.StrayAnswers, st.Dropped, st.OpenTimeouts)
		}
		// 32,766 other numbers come before this one again, and then it is passed over until the peer's RESET.
		next := func() framing.ChannelID {
			declined := make(chan struct{})
			go func() {
				_, _ = s.Open(t.Context(), "next")
				close(declined)
			}()
			m := until[*framing.ChannelRequest](p)
			p.control(&framing.ChannelRequest{ID: m.ID, Name: m.Name, IsAnswer: true})
			<-declined
			return m.ID
		}
		for range 32_766 {
			next()
		}
		if id := next(); id != framing.FirstOfferer+1 {
			t.Errorf("number %#x is used, want %#x: %#x rests", id, framing.FirstOfferer+1, q.ID)
		}
		p.control(&framing.Reset{Channel: q.ID})
		for range 32_765 {
			next()
		}
		if id := next(); id != q.ID {
			t.Errorf("number %#x is used, want %#x again", id, q.ID)
		}
	})
}

// rawAnswerer is a session that calls the test's hands.
func rawAnswerer(t testing.TB) (*raw, *mux.Session) {
	t.Helper()
	p := &raw{t: t}
	var other *side
	p.link, other = wire(1 << 20)
	s, err := mux.Start(other, mux.Config{Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.link.Close()
		s.Close()
	})
	hello := until[*framing.Hello](p)
	p.control(&framing.Hello{
		Version: 1, SessionID: hello.SessionID, MaxBody: framing.MaxBody,
		InitialWindow: framing.MinInitialWindow, SessionWindow: framing.MinSessionWindow, MaxChannels: 16,
	})
	return p, s
}

// TestNumberRestsUntilItsEndIsAcknowledged: mux.md 6.4.
func TestNumberRestsUntilItsEndIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := rawAnswerer(t)
		sent := uint64(0)
		use := func() framing.ChannelID {
			go func() {
				if ch, err := s.Open(t.Context(), "x"); err != nil {
					t.Error(err)
				} else {
					ch.Close()
				}
			}()
			q := until[*framing.ChannelRequest](p)
			p.control(&framing.ChannelRequest{ID: q.ID, Name: q.Name, IsAnswer: true, Accepted: true})
			p.data(q.ID, nil)
			until[*body](p)
			sent += uint64(len(framing.Native{}.AppendControl(nil, q)) + framing.HeaderLen)
			return q.ID
		}
		for range 32_767 {
			use()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Open(ctx, "x"); !errors.Is(err, mux.ErrTooManyChannels) {
			t.Errorf("open while all numbers rest: %v, want ErrTooManyChannels", err)
		}
		p.control(&framing.Ack{Count: sent})
		synctest.Wait()
		if id := use(); id != framing.FirstOfferer {
			t.Errorf("number %#x, want %#x", id, framing.FirstOfferer)
		}
	})
}

// TestLimitOfChannels: the peer's HELLO holds, on both sides.
func TestLimitOfChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		la, lb := wire(wireSize)
		a, b := sessions(t, la, lb, mux.Config{}, mux.Config{MaxChannels: 16})
		var ends []*mux.Channel
		for range 16 {
			from, to := open(t, a, b, "x")
			ends = append(ends, from, to)
		}
		if _, err := a.Open(t.Context(), "one more"); !errors.Is(err, mux.ErrTooManyChannels) {
			t.Errorf("seventeenth: %v, want ErrTooManyChannels", err)
		}
		open(t, b, a, "the other side has its own")
		ends[0].Close()
		ends[1].Close()
		synctest.Wait()
		open(t, a, b, "in its place")
	})
	// Who does not know the HELLO yet opens 16, and waits with the next.
	synctest.Test(t, func(t *testing.T) {
		la, lb := wire(wireSize)
		lb.out.hold(true)
		a, b := sessions(t, la, lb, mux.Config{}, mux.Config{})
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				ch, err := a.Open(t.Context(), "x")
				if err != nil {
					t.Error(err)
					return
				}
				ch.Close()
			})
		}
		synctest.Wait()
		if n := b.Stats().Pending; n != 16 {
			t.Errorf("%d requests before the HELLO, want 16", n)
		}
		lb.out.hold(false)
		for range 20 {
			acceptOne(t, b).Close()
		}
		all.Wait()
	})
}

// TestAccept: its context, several at once, and the session's end.
func TestAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := b.Accept(ctx); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("accept: %v, want os.ErrDeadlineExceeded", err)
		}
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if ch := acceptOne(t, b); ch != nil {
					ch.Close()
				}
			})
			all.Go(func() {
				ch, err := a.Open(t.Context(), "x")
				if err != nil {
					t.Error(err)
					return
				}
				ch.Close()
			})
		}
		all.Wait()
		go a.Open(t.Context(), "unanswered")
		r, err := b.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		end := make(chan error)
		go func() {
			_, err := b.Accept(t.Context())
			end <- err
		}()
		synctest.Wait()
		b.Close()
		if err := <-end; !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept on a closed session: %v, want net.ErrClosed", err)
		}
		if _, err := r.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept of a request after the end: %v, want net.ErrClosed", err)
		}
	})
}
