package mux_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/framing"
	"traverse.internal/core/mux"
)

// TestCloseSession: every call ends, on both sides; what was written before and ended arrives; the other side can tell.
func TestCloseSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t)
		ended, endedB := open(t, a, b, "ended")
		cut, cutB := open(t, a, b, "cut")
		if _, err := ended.Write(make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
		ended.Close()
		if _, err := cut.Write([]byte("half a")); err != nil {
			t.Fatal(err)
		}
		calls := make(chan error, 4)
		go func() { _, err := cut.Read(make([]byte, 1)); calls <- err }()
		go func() { _, err := cut.Write(make([]byte, 1<<20)); calls <- err }()
		go func() { _, err := a.Accept(t.Context()); calls <- err }()
		go func() { _, err := a.Open(t.Context(), "unanswered"); calls <- err }()
		synctest.Wait()
		began := time.Now()
		a.Close()
		for range 4 {
			if err := <-calls; !errors.Is(err, mux.ErrClosed) && !errors.Is(err, net.ErrClosed) {
				t.Errorf("call ended with %v, want ErrClosed", err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v, want no waiting", took)
		}
		if err := a.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		if !errors.Is(a.Err(), mux.ErrClosed) || !isDone(a.Done()) {
			t.Errorf("closed session: Err %v", a.Err())
		}

		<-b.Done()
		var away *mux.GoAwayError
		if !errors.As(b.Err(), &away) || away.Code != framing.CodeShuttingDown || !away.Remote {
			t.Errorf("peer's session ended with %v, want a *GoAwayError with %v", b.Err(), framing.CodeShuttingDown)
		}
		if got, err := io.ReadAll(endedB); len(got) != 100_000 || err != nil {
			t.Errorf("closed channel: read %d bytes, %v; want 100,000 and the end", len(got), err)
		}
		got, err := io.ReadAll(cutB)
		if !strings.HasPrefix(string(got), "half a") || !errors.As(err, &away) {
			t.Errorf("open channel: read %d bytes, %v; want the session's end and not the stream's", len(got), err)
		}
		if _, err := cutB.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write: %v, want net.ErrClosed", err)
		}
		if !isDone(cutB.Done()) || !isDone(cut.Done()) {
			t.Error("channels of an ended session are not done")
		}
	})
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestCloseBoth at once does not wait.
func TestCloseBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t)
		open(t, a, b, "x")
		began := time.Now()
		var both sync.WaitGroup
		both.Go(func() { a.Close() })
		both.Go(func() { b.Close() })
		both.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v, want no waiting", took)
		}
	})
}

// TestCloseWithAPeerThatDoesNotRead takes a second, and ends.
func TestCloseWithAPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		la, lb := wire(1000)
		a, b := sessions(t, la, lb, mux.Config{}, mux.Config{})
		f, _ := open(t, a, b, "x")
		lb.in.hold(true)
		if _, err := f.Write(make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		a.Close()
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v, want 1s", took)
		}
		lb.in.hold(false)
	})
}

// TestGoAway: no new channels either way, the open ones go on, over a new link too, and the session ends with the last.
func TestGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLinked(t, mux.Config{})
		a, b := l.a, l.b
		from, to := open(t, a, b, "x")
		if a.Draining() || b.Draining() {
			t.Error("draining before GoAway")
		}
		l.la.cut()
		synctest.Wait()
		if err := a.GoAway("enough"); err != nil { // the peer hears of it with the next link
			t.Fatal(err)
		}
		l.relink(false)
		synctest.Wait()
		var away *mux.GoAwayError
		if _, err := b.Open(t.Context(), "y"); !errors.As(err, &away) || !away.Remote || away.Reason != "enough" {
			t.Errorf("open at the peer: %v, want its *GoAwayError", err)
		}
		if _, err := a.Open(t.Context(), "y"); !errors.As(err, &away) || away.Remote {
			t.Errorf("open here: %v, want a *GoAwayError", err)
		}
		if !a.Draining() || !b.Draining() {
			t.Error("not draining")
		}
		for _, end := range [][2]*mux.Channel{{from, to}, {to, from}} {
			go func() {
				_, _ = end[0].Write([]byte("still"))
				end[0].CloseWrite()
			}()
			if got, err := io.ReadAll(end[1]); string(got) != "still" || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
		}
		<-a.Done()
		<-b.Done()
		if !errors.Is(a.Err(), mux.ErrClosed) || !errors.Is(b.Err(), net.ErrClosed) {
			t.Errorf("ended with %v and %v", a.Err(), b.Err())
		}
		if a.Stats().LinksLost != 1 || b.Stats().LinksLost != 1 {
			t.Errorf("the end of a drained session counts as a lost link")
		}
	})
	synctest.Test(t, func(t *testing.T) { // a request that crosses
		la, lb := wire(wireSize)
		a, b := sessions(t, la, lb, mux.Config{}, mux.Config{})
		open(t, a, b, "keeps it alive")
		lb.out.hold(true)
		if err := b.GoAway("enough"); err != nil {
			t.Fatal(err)
		}
		got := make(chan error)
		go func() {
			_, err := a.Open(t.Context(), "too late")
			got <- err
		}()
		synctest.Wait()
		lb.out.hold(false)
		var declined *mux.DeclinedError
		if err := <-got; !errors.As(err, &declined) || declined.Reason != mux.ReasonGoingAway {
			t.Errorf("open: %v, want declined as %q", err, mux.ReasonGoingAway)
		}
	})
	synctest.Test(t, func(t *testing.T) { // nothing open: at once
		a, b := newPair(t)
		synctest.Wait()
		if err := a.GoAway("enough"); err != nil {
			t.Fatal(err)
		}
		<-a.Done()
		<-b.Done()
	})
}

// TestBeacons: silence is asked about, any byte answers, no answer costs the link and not the session.
func TestBeacons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLinked(t, mux.Config{})
		time.Sleep(10 * time.Minute)
		if n := l.a.Stats().BeaconsOut + l.b.Stats().BeaconsOut; n < 10 || n > 40 {
			t.Errorf("%d beacons in ten silent minutes, want about 20", n)
		}
		if !l.a.Stats().LinkUp || l.a.Stats().LinksLost != 0 {
			t.Error("the link did not outlive silence")
		}
		if err := l.a.Beacon(t.Context()); err != nil {
			t.Errorf("beacon: %v", err)
		}

		l.lb.in.hold(true) // the path is gone, nobody says so
		l.lb.out.hold(true)
		began := time.Now()
		<-l.a.LinkDown()
		if took := time.Since(began); took > 33*time.Second {
			t.Errorf("a dead link was noticed after %v, want at most 33s", took)
		}
		// Both ask at the same moment: the first to give up closes the link for the other.
		if err, other := l.a.LinkErr(), l.b.LinkErr(); !errors.Is(err, mux.ErrNoBeaconAnswer) && !errors.Is(other, mux.ErrNoBeaconAnswer) {
			t.Errorf("LinkErr: %v here and %v there, want ErrNoBeaconAnswer on one side", err, other)
		}
		if err := l.a.Beacon(t.Context()); !errors.Is(err, mux.ErrLinkDown) {
			t.Errorf("beacon without a link: %v, want ErrLinkDown", err)
		}
		l.relink(true)
		open(t, l.a, l.b, "x")

		l.lb.in.hold(true)
		l.lb.out.hold(true)
		began = time.Now()
		if err := l.a.Beacon(t.Context()); !errors.Is(err, mux.ErrNoBeaconAnswer) {
			t.Errorf("beacon: %v, want ErrNoBeaconAnswer", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %v, want 3s", took)
		}
		if !isDone(l.a.LinkDown()) || l.a.Err() != nil {
			t.Errorf("link is up, or session ended: %v", l.a.Err())
		}
	})
	synctest.Test(t, func(t *testing.T) { // under a writer, after a long silence
		l := newLinked(t, mux.Config{})
		ch, _ := open(t, l.a, l.b, "x")
		time.Sleep(10 * time.Second)
		l.lb.out.hold(true) // one way only: what a says arrives, what b says does not
		began := time.Now()
		if _, err := ch.Write([]byte("into the dark")); err != nil {
			t.Fatal(err)
		}
		<-l.a.LinkDown()
		if took := time.Since(began); took > 5*time.Second || !errors.Is(l.a.LinkErr(), mux.ErrNoBeaconAnswer) {
			t.Errorf("noticed after %v by %v, want at most 5s by a beacon", took, l.a.LinkErr())
		}
	})
	synctest.Test(t, func(t *testing.T) { // whose context ends leaves the link alone
		l := newLinked(t, mux.Config{})
		l.lb.out.hold(true)
		ctx, cancel := contextFor(t, time.Second)
		defer cancel()
		if err := l.a.Beacon(ctx); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("beacon: %v, want os.ErrDeadlineExceeded", err)
		}
		if isDone(l.a.LinkDown()) {
			t.Error("link is down")
		}
		l.lb.out.hold(false)
	})
}

// TestNoGoroutinesAreLeft, on real sockets, whatever the end was.
func TestNoGoroutinesAreLeft(t *testing.T) {
	for range 20 {
		la, lb := tcp(t)
		a, b := sessions(t, la, lb, mux.Config{}, mux.Config{})
		from, to := open(t, a, b, "x")
		go func() { _, _ = from.Write(make([]byte, 10<<20)) }()
		go func() { _, _ = io.Copy(io.Discard, to) }()
		for i := range 3 {
			ca, cb := tcp(t)
			if err := attach(t, a, b, ca, cb, i); err != nil {
				t.Fatal(err)
			}
		}
		a.Close()
		b.Close()
	}
	stacks := make([]byte, 1<<20)
	for range 10_000 { // Close has waited for all but timers that were just firing
		n := runtime.Stack(stacks, true)
		if !bytes.Contains(stacks[:n], []byte("core/mux.(")) {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("goroutines are left:\n%s", stacks)
}

// TestConfig names what is wrong.
func TestConfig(t *testing.T) {
	for _, c := range []struct {
		cfg  mux.Config
		want string
	}{
		{mux.Config{Secret: []byte("short")}, "Secret has 5 bytes, want 32"},
		{mux.Config{Window: 1000}, "Window is 1000 bytes, want at least 262144"},
		{mux.Config{Window: 1 << 20, WindowMax: 1 << 19}, "WindowMax is 524288 bytes, want at least Window, 1048576"},
		{mux.Config{SessionWindow: 1000}, "SessionWindow is 1000 bytes, want at least 1048576"},
		{mux.Config{MaxChannels: 1}, "MaxChannels is 1, want 16 to 32767"},
		{mux.Config{MaxPending: -1}, "MaxPending is -1, want at least 1"},
		{mux.Config{Linger: -1}, "a negative time"},
	} {
		la, _ := wire(wireSize)
		if _, err := mux.Start(la, c.cfg); err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
}

// TestChannelsAndStats shows what there is.
func TestChannelsAndStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t)
		f, c := open(t, a, b, "one")
		open(t, b, a, "two")
		if _, err := f.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		f.CloseWrite()
		if _, err := io.ReadFull(c, make([]byte, 400)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		list := b.Channels()
		if len(list) != 2 {
			t.Fatalf("%d channels, want 2", len(list))
		}
		two, one := list[0], list[1]
		opened := one.Opened
		one.Opened = time.Time{}
		if want := (mux.ChannelInfo{ID: 0x8000, Name: "one", Inbound: true, BytesIn: 1000, Unread: 600, Window: 256 << 10, EndIn: true}); one != want || opened.IsZero() {
			t.Errorf("got %+v, want %+v", one, want)
		}
		if two.Name != "two" || two.Inbound || two.ID != 1 {
			t.Errorf("got %+v", two)
		}
		if st := b.Stats(); st.Channels != 2 || st.BytesIn != 1000 || st.Accepted != 1 || st.Opened != 1 || !st.LinkUp || st.Unread != 600 {
			t.Errorf("stats %+v", st)
		}
		if a.ID() != b.ID() || a.Role() != mux.Offerer || b.Role() != mux.Answerer {
			t.Errorf("ids %x %x, roles %v %v", a.ID(), b.ID(), a.Role(), b.Role())
		}
	})
}
