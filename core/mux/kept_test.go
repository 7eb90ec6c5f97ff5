package mux_test

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/mux"
)

// keeping is a session that has moved to a second link while both sides keep the first.
type keeping struct {
	*linked
	first, second *side // of a
}

func newKeeping(t *testing.T, byA bool) *keeping {
	t.Helper()
	l := newLinked(t, mux.Config{})
	k := &keeping{linked: l, first: l.la}
	l.a.KeepLink(true)
	l.b.KeepLink(true)
	l.relink(byA)
	k.second = l.la
	synctest.Wait()
	for name, s := range map[string]*mux.Session{"a": l.a, "b": l.b} {
		if link, _, _ := s.Kept(); link == nil {
			t.Fatalf("%s has not kept its link", name)
		}
	}
	return k
}

// flow writes from one side to the other until stop, and tells whether all of it came.
func flow(t *testing.T, from, to *mux.Channel, stop <-chan struct{}) (wait func()) {
	var all sync.WaitGroup
	var sent, got bytes.Buffer
	all.Go(func() {
		b := make([]byte, 40_000)
		for i := uint64(0); ; i++ {
			select {
			case <-stop:
				from.CloseWrite()
				return
			default:
			}
			fill(b, i)
			sent.Write(b)
			if _, err := from.Write(b); err != nil {
				t.Errorf("write: %v", err)
				return
			}
			time.Sleep(10 * time.Millisecond) // in the bubble
		}
	})
	all.Go(func() {
		if _, err := io.Copy(&got, to); err != nil {
			t.Errorf("read: %v", err)
		}
	})
	return func() {
		all.Wait()
		if !bytes.Equal(sent.Bytes(), got.Bytes()) {
			t.Errorf("%d bytes came of %d, or others", got.Len(), sent.Len())
		}
	}
}

// TestRevive: under a flow in both directions the second link dies, and either side, or both at once, goes back to the first one.
func TestRevive(t *testing.T) {
	for _, c := range []struct {
		name       string
		a, b       bool // who goes back
		dies, byA  bool
		backAndOut int // times
	}{
		{"the offerer", true, false, true, true, 1},
		{"the answerer", false, true, true, true, 1},
		{"both", true, true, true, true, 1},
		{"both, the answerer had called", true, true, true, false, 1},
		{"the offerer, while the second lives", true, false, false, true, 1},
		{"both, while the second lives, five times", true, true, false, true, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKeeping(t, c.byA)
				up, upTo := open(t, k.a, k.b, "up")
				down, downTo := open(t, k.b, k.a, "down")
				stop := make(chan struct{})
				waitUp, waitDown := flow(t, up, upTo, stop), flow(t, down, downTo, stop)
				for range c.backAndOut {
					time.Sleep(time.Second)
					_, backA, _ := k.a.Kept()
					_, backB, _ := k.b.Kept()
					if c.dies {
						k.second.cut()
					}
					began := time.Now()
					var calls sync.WaitGroup
					for s, on := range map[*mux.Session]bool{k.a: c.a, k.b: c.b} {
						if on {
							calls.Go(func() {
								if err := s.Revive(t.Context()); err != nil && !errors.Is(err, mux.ErrNotKept) {
									t.Errorf("revive: %v", err)
								}
							})
						}
					}
					calls.Wait()
					<-backA
					<-backB
					if took := time.Since(began); took != 0 {
						t.Errorf("it took %v, on a wire without delay", took)
					}
					if k.a.Link() != io.ReadWriteCloser(k.first) {
						t.Fatal("another link carries the session")
					}
					time.Sleep(time.Second)
					k.a.KeepLink(true)
					k.b.KeepLink(true)
					k.relink(c.byA)
					k.second = k.la
				}
				close(stop)
				waitUp()
				waitDown()
				if st := k.a.Stats(); st.Violations != 0 {
					t.Error("a violation")
				}
			})
		})
	}
}

// TestKeptLinkDies: it is forgotten, and nothing else happens.
func TestKeptLinkDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeping(t, true)
		_, _, gone := k.a.Kept()
		k.first.cut()
		<-gone
		synctest.Wait()
		if err := k.a.Revive(t.Context()); !errors.Is(err, mux.ErrNotKept) {
			t.Errorf("revive: %v, want ErrNotKept", err)
		}
		if link, _, _ := k.b.Kept(); link != nil || !k.a.Stats().LinkUp || !k.b.Stats().LinkUp {
			t.Error("the other side keeps a dead link, or the session has none")
		}
	})
}

// TestKeptByOneSide: a side that does not keep closes, as one that knows no such thing does.
func TestKeptByOneSide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLinked(t, mux.Config{})
		l.a.KeepLink(true)
		l.relink(true)
		synctest.Wait()
		if link, _, _ := l.a.Kept(); link != nil {
			t.Error("a keeps a link that the other side has closed")
		}
		from, to := open(t, l.a, l.b, "x")
		stop := make(chan struct{})
		wait := flow(t, from, to, stop)
		close(stop)
		wait()
	})
}

// TestReviveUnanswered: a kept link that swallows what is written is given up with the context, and the session lingers.
func TestReviveUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeping(t, true)
		from, to := open(t, k.a, k.b, "x")
		k.first.out.hold(true)
		k.second.cut()
		synctest.Wait()
		ctx, cancel := contextFor(t, 3*time.Second)
		defer cancel()
		if err := k.a.Revive(ctx); err == nil {
			t.Error("revived over a link that brings nothing")
		}
		stop := make(chan struct{})
		wait := flow(t, from, to, stop)
		time.Sleep(time.Second)
		k.relink(true) // a new link does
		close(stop)
		wait()
	})
}

// TestAnswerLost: the answerer has taken the new link, its answer is lost with it, and it goes back to the first one, which the caller never left.
func TestAnswerLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLinked(t, mux.Config{})
		from, to := open(t, l.a, l.b, "x")
		stop := make(chan struct{})
		wait := flow(t, from, to, stop)
		time.Sleep(time.Second)
		l.a.KeepLink(true)
		l.b.KeepLink(true)
		la, lb := wire(wireSize)
		lb.out.mu.Lock()
		lb.out.lost = true
		lb.out.mu.Unlock()
		if err := attach(t, l.a, l.b, la, lb, 9); err == nil {
			t.Fatal("attached without an answer")
		}
		if err := l.b.Revive(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		close(stop)
		wait()
		if l.a.Link() != io.ReadWriteCloser(l.la) {
			t.Error("a is on another link")
		}
	})
}

// TestKeptIsClosed: with the session, and when it is dropped.
func TestKeptIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeping(t, true)
		_, _, gone := k.b.Kept()
		k.a.DropKept()
		<-gone
		k = newKeeping(t, false)
		_, _, gone = k.a.Kept()
		k.a.Close()
		<-gone
	})
}
