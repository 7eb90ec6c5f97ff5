package mux_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/framing"
	"traverse.internal/core/mux"
)

// linked is a session whose link the test can break.
type linked struct {
	t      *testing.T
	a, b   *mux.Session
	la, lb *side
	n      int // of the link
}

func newLinked(t *testing.T, cfg mux.Config) *linked {
	t.Helper()
	l := &linked{t: t}
	l.la, l.lb = wire(wireSize)
	l.a, l.b = sessions(t, l.la, l.lb, cfg, cfg)
	synctest.Wait()
	return l
}

// relink attaches a new link, called by a or by b.
func (l *linked) relink(byA bool) {
	l.t.Helper()
	l.n++
	la, lb := wire(wireSize)
	var err error
	if byA {
		err = attach(l.t, l.a, l.b, la, lb, l.n)
	} else {
		err = attach(l.t, l.b, l.a, lb, la, l.n)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.la, l.lb = la, lb
}

// TestLinkDies: calls wait, nothing fails, and a new link from either side lets them go on.
func TestLinkDies(t *testing.T) {
	for _, byA := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			l := newLinked(t, mux.Config{})
			from, to := open(t, l.a, l.b, "x")
			down := l.a.LinkDown()
			l.la.cut()
			<-down
			if err := l.a.LinkErr(); !errors.Is(err, errCut) {
				t.Errorf("LinkErr: %v, want %v", err, errCut)
			}
			if l.a.Stats().LinkUp {
				t.Error("link is said to be up")
			}
			const length = 3 << 20
			want := make([]byte, length)
			fill(want, 1)
			go func() {
				if _, err := from.Write(want); err != nil {
					t.Error(err)
				}
				from.CloseWrite()
			}()
			opened := make(chan *mux.Channel)
			go func() {
				ch, err := l.b.Open(t.Context(), "y") // while there is no link
				if err != nil {
					t.Error(err)
				}
				opened <- ch
			}()
			go acceptOne(t, l.a)
			time.Sleep(50 * time.Second) // in the bubble
			if st := l.a.Stats(); st.Queued == 0 || st.Queued > 128<<10 {
				t.Errorf("%d bytes queued without a link, want some and at most 128 KiB", st.Queued)
			}
			l.relink(byA)
			got, err := io.ReadAll(to)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v; want %d and the end", len(got), err, length)
			}
			(<-opened).Close()
			select {
			case <-l.a.LinkDown():
				t.Error("link is said to be down")
			default:
			}
		})
	}
}

// TestLinger: without a new link the session ends, in time and with an error that is not the end of a stream.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLinked(t, mux.Config{})
		from, to := open(t, l.a, l.b, "x")
		if _, err := to.Write([]byte("before")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		l.la.cut()
		began := time.Now()
		errs := make(chan error, 3)
		go func() { _, err := from.Write(make([]byte, 1<<20)); errs <- err }()
		go func() { _, err := l.a.Accept(t.Context()); errs <- err }()
		go func() { _, err := l.a.Open(t.Context(), "y"); errs <- err }()
		<-l.a.Done()
		if took := time.Since(began); took != time.Minute {
			t.Errorf("the session ended after %v, want 1m", took)
		}
		for range 3 {
			err := <-errs
			var lost *mux.LinkError
			if !errors.As(err, &lost) || !errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
				t.Errorf("call failed with %v, want a *LinkError that is net.ErrClosed and not io.EOF", err)
			}
		}
		// What had come is there, and then the error.
		got, err := io.ReadAll(from)
		var lost *mux.LinkError
		if string(got) != "before" || !errors.As(err, &lost) {
			t.Errorf("read %q, %v; want what had come and a *LinkError", got, err)
		}
		<-from.Done()
		if err := l.a.GoAway("x"); !errors.As(err, &lost) {
			t.Errorf("GoAway: %v, want the session's end", err)
		}
	})
}

// TestMakeBeforeBreak moves a session with both links alive, back and forth, under traffic. Nobody hears of a lost
// link.
func TestMakeBeforeBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLinked(t, mux.Config{})
		downA, downB := l.a.LinkDown(), l.b.LinkDown()
		from, to := open(t, l.a, l.b, "x")
		want := make([]byte, 20<<20)
		fill(want, 2)
		go func() {
			_, _ = from.Write(want)
			from.CloseWrite()
		}()
		var got bytes.Buffer
		for i := range 20 {
			if _, err := io.CopyN(&got, to, 1<<19); err != nil {
				t.Fatal(err)
			}
			old := l.la
			l.relink(i%2 == 0)
			synctest.Wait()
			if _, err := old.Write([]byte("x")); err == nil {
				t.Error("the old link is open")
			}
		}
		if _, err := io.Copy(&got, to); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%d bytes, %v; want %d", got.Len(), err, len(want))
		}
		select {
		case <-downA:
			t.Error("a heard of a lost link")
		case <-downB:
			t.Error("b heard of a lost link")
		default:
		}
		if st := l.a.Stats(); st.LinksLost != 0 || st.Resumes != 20 {
			t.Errorf("%d links lost, %d resumes; want 0 and 20", st.LinksLost, st.Resumes)
		}
	})
}

// TestResumeIsRefused: whoever comes with something wrong is told, and the session goes on as if nobody had come.
func TestResumeIsRefused(t *testing.T) {
	good := func(m *framing.Resume) {}
	mac := func(m *framing.Resume, key []byte, from framing.Side, exporter []byte) {
		m.MAC = framing.ResumeMAC(framing.ResumeKey(key), from, m, exporter)
	}
	for _, c := range []struct {
		name   string
		change func(m *framing.Resume) // of a good one, before its MAC
		spoil  func(m *framing.Resume) // and after
		code   framing.Code
		want   string
	}{
		{"unknown session", func(m *framing.Resume) { m.SessionID[0]++ }, good, framing.CodeUnknown, "no session"},
		{"wrong MAC", good, func(m *framing.Resume) { m.MAC[31] ^= 1 }, framing.CodeProtocol, "wrong MAC"},
		{"MAC of another secret", good, func(m *framing.Resume) {
			mac(m, bytes.Repeat([]byte{8}, 32), framing.OffererSide, exporter(1))
		}, framing.CodeProtocol, "wrong MAC"},
		{"replayed from another link", good, func(m *framing.Resume) { mac(m, secret, framing.OffererSide, exporter(2)) }, framing.CodeProtocol, "wrong MAC"},
		{"our own, thrown back", good, func(m *framing.Resume) { mac(m, secret, framing.AnswererSide, exporter(1)) }, framing.CodeProtocol, "wrong MAC"},
		{"epoch changed after the MAC", good, func(m *framing.Resume) { m.Epoch++ }, framing.CodeProtocol, "wrong MAC"},
		{"count changed after the MAC", good, func(m *framing.Resume) { m.Received++ }, framing.CodeProtocol, "wrong MAC"},
		{"the session's epoch again", func(m *framing.Resume) { m.Epoch = 1 }, good, framing.CodeFenced, "epoch"},
		{"a lower epoch", func(m *framing.Resume) { m.Epoch = 0 }, good, framing.CodeFenced, "epoch"},
		{"a count from before the last ACK", func(m *framing.Resume) { m.Received = 0 }, good, framing.CodeProtocol, "not kept here"},
		{"a count beyond what was sent", func(m *framing.Resume) { m.Received = 1 << 40 }, good, framing.CodeProtocol, "not kept here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLinked(t, mux.Config{})
				l.relink(true) // epoch 1
				from, to := open(t, l.b, l.a, "x")
				if _, err := from.Write(make([]byte, 1000)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second) // for the ACK
				m := &framing.Resume{SessionID: l.a.ID(), Epoch: 2, Received: uint64(l.b.Stats().LinkBytesOut)}
				c.change(m)
				mac(m, secret, framing.OffererSide, exporter(1))
				c.spoil(m)

				mine, theirs := wire(wireSize)
				if _, err := mine.Write(framing.Native{}.AppendControl(nil, m)); err != nil {
					t.Fatal(err)
				}
				op, err := mux.Receive(theirs)
				if err != nil {
					t.Fatal(err)
				}
				err = l.b.AttachAnswer(t.Context(), theirs, op, exporter(1))
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				p := &raw{t: t, link: mine}
				if away := until[*framing.GoAway](p); away == nil || away.Code != c.code {
					t.Errorf("told %+v, want code %v", away, c.code)
				}
				if p.next() != nil {
					t.Error("the refused link is open")
				}
				// The session is untouched.
				go func() {
					_, _ = from.Write([]byte("still here"))
					from.CloseWrite()
				}()
				got, err := io.ReadAll(to)
				if len(got) != 1010 || err != nil {
					t.Errorf("read %d bytes, %v; want 1010 on the old link", len(got), err)
				}
				if st := l.b.Stats(); st.Resumes != 1 || st.LinksLost != 0 {
					t.Errorf("%d resumes, %d links lost; want 1 and 0", st.Resumes, st.LinksLost)
				}
			})
		})
	}
}

// TestCallerOfALinkIsRefused: what Attach makes of the called side's answer.
func TestCallerOfALinkIsRefused(t *testing.T) {
	var unknown *mux.UnknownSessionError
	var resume *mux.ResumeError
	for _, c := range []struct {
		name   string
		answer framing.Message // nil: none
		as     any
	}{
		{"session unknown", &framing.GoAway{Code: framing.CodeUnknown}, &unknown},
		{"fenced", &framing.GoAway{Code: framing.CodeFenced}, &resume},
		{"an answer with a wrong MAC", &framing.Resume{Epoch: 1}, &unknown},
		{"revoked", &framing.GoAway{Code: framing.CodeRevoked}, &resume},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLinked(t, mux.Config{})
				mine, theirs := wire(wireSize)
				if _, err := theirs.Write(framing.Native{}.AppendControl(nil, c.answer)); err != nil {
					t.Fatal(err)
				}
				err := l.a.Attach(t.Context(), mine, exporter(1))
				if !errors.As(err, c.as) {
					t.Errorf("error %T %v, want a %T", err, err, c.as)
				}
				if _, err := mine.Write([]byte("x")); err == nil {
					t.Error("the refused link is open")
				}
				if err := l.a.Err(); err != nil || !l.a.Stats().LinkUp {
					t.Errorf("session ended with %v, or lost its link", err)
				}
			})
		})
	}
	t.Run("silence", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newLinked(t, mux.Config{})
			from, to := open(t, l.a, l.b, "x")
			began := time.Now()
			mine, _ := wire(wireSize)
			if err := l.a.Attach(t.Context(), mine, exporter(1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("error %v, want os.ErrDeadlineExceeded", err)
			}
			if took := time.Since(began); took != 10*time.Second {
				t.Errorf("took %v, want 10s", took)
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			mine, _ = wire(wireSize)
			if err := l.a.Attach(ctx, mine, exporter(2)); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want context.Canceled", err)
			}
			go from.Write([]byte("x"))
			if _, err := to.Read(make([]byte, 1)); err != nil {
				t.Errorf("old link: %v", err)
			}
		})
	})
}

// TestBothCallALink: each side calls one at the same moment. One of the two carries the session, and nothing is lost.
func TestBothCallALink(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			l := newLinked(t, mux.Config{})
			from, to := open(t, l.a, l.b, "x")
			want := make([]byte, 2<<20)
			fill(want, 3)
			go func() {
				_, _ = from.Write(want)
				from.CloseWrite()
			}()
			results := make(chan error, 2)
			for i, pair := range [][2]*mux.Session{{l.a, l.b}, {l.b, l.a}} {
				go func() {
					la, lb := wire(wireSize)
					results <- attach(t, pair[0], pair[1], la, lb, i)
				}()
			}
			got, err := io.ReadAll(to)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
			}
			first, second := <-results, <-results
			if first != nil && second != nil {
				t.Errorf("neither link was taken: %v; %v", first, second)
			}
		})
	}
}

// TestAttachAfterTheEnd and without a secret.
func TestAttachCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLinked(t, mux.Config{})
		l.a.Close()
		la, lb := wire(wireSize)
		if err := attach(t, l.a, l.b, la, lb, 1); !errors.Is(err, net.ErrClosed) {
			t.Errorf("attach to a closed session: %v, want net.ErrClosed", err)
		}
		ca, cb := wire(wireSize)
		s, err := mux.Start(ca, mux.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Attach(t.Context(), la, exporter(1)); err == nil || !strings.Contains(err.Error(), "without a secret") {
			t.Errorf("attach without a secret: %v", err)
		}
		cb.Close()
	})
}
