package connmgr

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"traverse.internal/core/mux"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

func testCtx(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// echo accepts every channel and sends back what comes, with half-close.
func (d *testDevice) echo(t *testing.T) {
	t.Helper()
	go func() {
		for {
			in, err := d.Accept(context.Background())
			if err != nil {
				return
			}
			ch, err := in.Accept()
			if err != nil {
				continue
			}
			go func() {
				_, _ = io.Copy(ch, ch)
				_ = ch.CloseWrite()
			}()
		}
	}()
}

// roundTrip sends a message through an echoing channel and compares.
func roundTrip(t *testing.T, ch net.Conn, message []byte) {
	t.Helper()
	_ = ch.SetDeadline(time.Now().Add(20 * time.Second))
	go func() { _, _ = ch.Write(message) }()
	got := make([]byte, len(message))
	if _, err := io.ReadFull(ch, got); err != nil {
		t.Fatalf("read back: %v", err)
	}
	if !bytes.Equal(got, message) {
		t.Fatalf("the echo differs from what was sent")
	}
}

func TestConnectByID(t *testing.T) {
	overBoth(t, func(t *testing.T, w *world) {
		a, b := w.device(), w.device()
		b.echo(t)
		ch, info, err := a.Connect(testCtx(t), b.self, "echo")
		if err != nil {
			t.Fatal(err)
		}
		if info.Peer != b.self || info.Route.Reason != reason.DirectLAN {
			t.Errorf("info = %+v, want peer %s over DIRECT_LAN", info, b.self.Short())
		}
		roundTrip(t, ch, []byte("hello"))
		a.until(t, "one new-device and one connected event on each side", func() bool {
			return a.count(EventNewDevice) == 1 && a.count(EventConnected) == 1 && b.count(EventNewDevice) == 1
		})

		// A second channel reuses the session.
		if _, info2, err := a.Connect(testCtx(t), b.self, "echo"); err != nil || info2.SessionID != info.SessionID {
			t.Errorf("second channel: session %x err %v, want session %x", info2.SessionID, err, info.SessionID)
		}
		if n := a.node.callCount(); n != 1 {
			t.Errorf("calls = %d, want 1", n)
		}
	})
}

func TestStrangerMeetsSilence(t *testing.T) {
	w := newWorld(t)
	a := w.device()
	b := w.device(func(c *Config) { c.Allowed = func(identity.DeviceID) bool { return false } })
	_, _, err := a.Connect(testCtx(t), b.self, "x")
	var ce *ConnectError
	if !errors.As(err, &ce) || ce.Stage != StageSignal || ce.Reason() != reason.PeerSilent {
		t.Fatalf("err = %v, want a *ConnectError at %q with PEER_SILENT", err, StageSignal)
	}
	if st := b.Stats(); st.Refused != 1 || st.Answered != 0 {
		t.Errorf("refused %d answered %d, want 1 and 0", st.Refused, st.Answered)
	}
}

// A contact's request without a readable offer costs nothing: no relay is asked for anything.
func TestNothingIsGatheredForABadOffer(t *testing.T) {
	w := newWorld(t)
	a, b := w.device(), w.device()
	if _, err := b.answer(testCtx(t), a.self, []byte("nonsense?")); err == nil {
		t.Fatal("a bad offer was answered")
	}
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	if b.node.gathered != 0 || b.Stats().Refused != 1 {
		t.Errorf("gathered %d times, refused %d; want 0 and 1", b.node.gathered, b.Stats().Refused)
	}
}

func TestUnknownPeer(t *testing.T) {
	w := newWorld(t)
	a := w.device()
	other, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = a.Connect(testCtx(t), other.ID(), "x")
	if got := reason.Of(err); got != reason.NoRecord {
		t.Fatalf("err = %v (reason %q), want NO_RECORD", err, got)
	}
	if _, _, err := a.Connect(testCtx(t), a.self, "x"); !errors.Is(err, ErrSelf) {
		t.Errorf("connect to self: %v, want ErrSelf", err)
	}
}

func TestChannelDeclined(t *testing.T) {
	overBoth(t, func(t *testing.T, w *world) {
		a, b := w.device(), w.device()
		go func() {
			for {
				in, err := b.Accept(context.Background())
				if err != nil {
					return
				}
				if in.Name == "no" {
					_ = in.Decline("not today")
				} else if ch, err := in.Accept(); err == nil {
					go func() { _, _ = io.Copy(ch, ch) }()
				}
			}
		}()
		ok, _, err := a.Connect(testCtx(t), b.self, "yes")
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = a.Connect(testCtx(t), b.self, "no")
		var declined *mux.DeclinedError
		if !errors.As(err, &declined) || declined.Reason != "not today" {
			t.Fatalf("err = %v, want a *mux.DeclinedError with the peer's reason", err)
		}
		roundTrip(t, ok, []byte("others are unaffected"))
	})
}

func TestConcurrentCallersShareOneAttempt(t *testing.T) {
	overBoth(t, func(t *testing.T, w *world) {
		a, b := w.device(), w.device()
		b.echo(t)
		const callers = 50
		var wg sync.WaitGroup
		ids := make([][16]byte, callers)
		for i := range callers {
			wg.Go(func() {
				ch, info, err := a.Connect(testCtx(t), b.self, "echo")
				if err != nil {
					t.Errorf("caller %d: %v", i, err)
					return
				}
				ids[i] = info.SessionID
				_ = ch.Close()
			})
		}
		wg.Wait()
		for _, id := range ids {
			if id != ids[0] {
				t.Fatalf("callers got different sessions")
			}
		}
		if n := a.node.callCount(); n != 1 {
			t.Errorf("calls = %d, want 1", n)
		}
	})
}

func TestManyChannelsInterleaved(t *testing.T) {
	overBoth(t, func(t *testing.T, w *world) {
		a, b := w.device(), w.device()
		b.echo(t)
		const channels = 1000
		open := make([]*mux.Channel, channels)
		for i := range open {
			ch, _, err := a.Connect(testCtx(t), b.self, "same name")
			if err != nil {
				t.Fatalf("channel %d: %v", i, err)
			}
			open[i] = ch
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for range 3 {
			for _, i := range rng.Perm(channels)[:100] {
				roundTrip(t, open[i], []byte{byte(i), byte(i >> 8)})
			}
		}
		if n := len(a.Sessions()[0].Channels); n != channels {
			t.Errorf("channels listed = %d, want %d", n, channels)
		}
		if a.Disconnect(b.self) != 1 {
			t.Error("Disconnect found no session")
		}
		for _, ch := range open {
			if _, err := ch.Read(make([]byte, 1)); err == nil {
				t.Fatal("read after Disconnect succeeded")
			}
		}
		b.until(t, "the session to end on the other side too, once", func() bool {
			return len(b.Sessions()) == 0 && b.count(EventEnded) == 1 && a.count(EventEnded) == 1
		})
	})
}

// Both sides call at the same moment: one session survives and both callers have a channel on it.
func TestSimultaneousCalls(t *testing.T) {
	forBoth(t, func(t *testing.T, fresh func(*testing.T) *world) {
		for round := range 20 {
			w := fresh(t)
			devices := []*testDevice{w.device(), w.device()}
			var wg sync.WaitGroup
			for i, d := range devices {
				d.echo(t)
				peer := devices[1-i]
				wg.Go(func() {
					ch, _, err := d.Connect(testCtx(t), peer.self, "echo")
					if err != nil {
						t.Errorf("round %d, side %d: %v", round, i, err)
						return
					}
					roundTrip(t, ch, []byte("there and back"))
					_ = ch.Close()
				})
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			a, b := devices[0], devices[1]
			a.until(t, "the same one session to be left on both sides", func() bool {
				left, right := a.Sessions(), b.Sessions()
				return len(left) == 1 && len(right) == 1 && left[0].SessionID == right[0].SessionID
			})
			// What is left is for both, whoever called.
			for i, d := range devices {
				if _, info, err := d.Connect(testCtx(t), devices[1-i].self, "echo"); err != nil || info.SessionID != a.Sessions()[0].SessionID {
					t.Fatalf("round %d, side %d: session %x, %v; want the one that is left", round, i, info.SessionID, err)
				}
			}
		}
	})
}

func TestSessionOutlivesItsLink(t *testing.T) {
	w := newWorld(t)
	a, b := w.device(), w.device()
	b.echo(t)
	ch, info, err := a.Connect(testCtx(t), b.self, "echo")
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, ch, []byte("before"))
	for range 3 {
		w.net.cut()
		roundTrip(t, ch, bytes.Repeat([]byte("after the cut "), 10_000))
	}
	if got := a.Sessions(); len(got) != 1 || got[0].SessionID != info.SessionID {
		t.Errorf("sessions after the cuts: %d, want the one from before", len(got))
	}
	a.until(t, "link-down and link-up events", func() bool {
		return a.count(EventLinkDown) == 3 && a.count(EventLinkUp) == 3 && a.count(EventNewDevice) == 1
	})
}

// A path that dies without a word is found by the beacon; the session gets a new link.
func TestProbeFindsADeadLink(t *testing.T) {
	quick := func(c *Config) { c.Mux.BeaconTimeout = 100 * time.Millisecond }
	w := newWorld(t)
	a, b := w.device(quick), w.device(quick)
	b.echo(t)
	ch, _, err := a.Connect(testCtx(t), b.self, "echo")
	if err != nil {
		t.Fatal(err)
	}
	w.net.freeze()
	a.Probe(testCtx(t))
	b.Probe(testCtx(t))
	roundTrip(t, ch, []byte("over the new link"))
	a.until(t, "a new link to be noted", func() bool { return a.Stats().Resumed > 0 })
}

// A device that lost power and came back knows its old sessions no more. The other side still has one whose link looks alive: the new call
// replaces it, whichever id is the lower, since it answers no beacon.
func TestPeerRestarts(t *testing.T) {
	quick := func(c *Config) { c.Mux.BeaconTimeout = 100 * time.Millisecond }
	for range 4 { // the ids are random: both orders come up
		w := newWorld(t)
		a, b := w.device(quick), w.device(quick)
		a.echo(t)
		b.echo(t)
		old, _, err := a.Connect(testCtx(t), b.self, "echo")
		if err != nil {
			t.Fatal(err)
		}
		w.net.freeze()
		again := w.deviceOf(b.cfg.Device, quick)
		again.echo(t)
		ch, info, err := again.Connect(testCtx(t), a.self, "echo")
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, ch, []byte("hello again"))
		_, err = old.Read(make([]byte, 1))
		if err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the old channel's reader got %v, want an error that is no clean end", err)
		}
		back, info2, err := a.Connect(testCtx(t), b.self, "echo")
		if err != nil || info2.SessionID != info.SessionID {
			t.Fatalf("back: session %x, %v; want the new session %x", info2.SessionID, err, info.SessionID)
		}
		roundTrip(t, back, []byte("and back"))
	}
}

func TestCloseWhileConnecting(t *testing.T) {
	for _, stage := range []string{"signalling", "negotiating"} {
		t.Run(stage, func(t *testing.T) {
			w := newWorld(t)
			a, b := w.device(), w.device()
			block := make(chan struct{})
			defer close(block)
			if stage == "signalling" {
				a.node.delay = block
			} else {
				w.net.hold = block
			}
			result := make(chan error, 1)
			go func() {
				_, _, err := a.Connect(context.Background(), b.self, "x")
				result <- err
			}()
			a.until(t, "the attempt to begin", func() bool { return a.count(EventConnecting) == 1 })
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-result; !errors.Is(err, ErrClosed) || !errors.Is(err, net.ErrClosed) {
				t.Errorf("the waiter got %v, want ErrClosed", err)
			}
		})
	}
}

func TestCloseFromAnObserver(t *testing.T) {
	w := newWorld(t)
	var a *testDevice
	ready := make(chan struct{})
	a = w.device(func(c *Config) {
		inner := c.Observe
		c.Observe = func(e Event) {
			inner(e)
			if e.Kind == EventConnected {
				<-ready
				_ = a.Close()
			}
		}
	})
	close(ready)
	b := w.device()
	b.echo(t)
	_, _, _ = a.Connect(testCtx(t), b.self, "echo")
	select {
	case <-a.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the Manager did not end")
	}
}

func TestGiveUp(t *testing.T) {
	w := newWorld(t)
	a, b := w.device(), w.device()
	block := make(chan struct{})
	defer close(block)
	a.node.delay = block
	_, _, err := a.ConnectWith(context.Background(), b.self, "x", Options{Timeout: 20 * time.Millisecond})
	var ce *ConnectError
	if !errors.As(err, &ce) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("err = %v, want a *ConnectError wrapping DeadlineExceeded", err)
	}
	// The last waiter's going ends the attempt.
	a.until(t, "the attempt to end", func() bool { return a.Stats().Dialling == 0 })
}

// Somebody else answers the call, under another key: the id that was called is what counts.
func TestImpostor(t *testing.T) {
	overBoth(t, func(t *testing.T, w *world) {
		a, victim, impostor := w.device(), w.device(), w.device()
		w.net.mu.Lock()
		w.net.serving[victim.self] = impostor.node
		w.net.mu.Unlock()
		_, _, err := a.Connect(testCtx(t), victim.self, "x")
		var ce *ConnectError
		if !errors.As(err, &ce) || ce.Stage != StageSecure || ce.Reason() != reason.AuthWrongKey {
			t.Fatalf("err = %v, want AUTH_WRONG_KEY at %q", err, StageSecure)
		}
		if n := len(a.Sessions()) + len(impostor.Sessions()); n != 0 {
			t.Errorf("%d sessions, want none", n)
		}
	})
}

func TestNoPath(t *testing.T) {
	w := newWorld(t)
	w.net.broken = noPath{}
	a, b := w.device(), w.device()
	_, _, err := a.Connect(testCtx(t), b.self, "x")
	var ce *ConnectError
	if !errors.As(err, &ce) || ce.Stage != StageNegotiate || ce.Reason() != reason.NoPath {
		t.Fatalf("err = %v, want NO_PATH at %q", err, StageNegotiate)
	}
	b.until(t, "the answerer to count its failure", func() bool { return b.Stats().AnswerFailures == 1 })
}

type noPath struct{}

func (noPath) Error() string       { return "no path" }
func (noPath) Reason() reason.Code { return reason.NoPath }
