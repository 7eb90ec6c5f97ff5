package transfer

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// big does not fit into the window of a memStream, so a transfer of it can be
// stopped in the middle.
const big = 12 * blockSize

// wantEnded checks that neither end of the stream was left open.
func wantEnded(t *testing.T, ends ...*memStream) {
	t.Helper()
	for i, s := range ends {
		if !s.ended() {
			t.Errorf("end %d of the stream was left open", i)
		}
	}
}

func TestDecline(t *testing.T) {
	for _, reason := range []string{"", "not now", "bad \x1b[31m text \n GO 0"} {
		synctest.Test(t, func(t *testing.T) {
			a, b := memPipe("")
			sent := send(t.Context(), a, sourceOf(t, writeFile(t, "f", content(10))), SendOptions{})
			in, err := ReadOffer(t.Context(), b, ReceiveOptions{})
			if err != nil {
				t.Fatal(err)
			}
			<-time.After(8 * time.Hour) // of the bubble: an offer may lie in an inbox overnight
			if err := in.Decline(reason); err != nil {
				t.Fatal(err)
			}
			<-in.Done()
			wantKind(t, "receiver", in.Err(), ErrDeclined, Local)
			out := <-sent
			wantKind(t, "sender", out.err, ErrDeclined, Remote)
			want := map[string]string{"": "declined", "not now": "not now"}[reason]
			var e *Error
			if errors.As(out.err, &e); want != "" && e.Detail != want {
				t.Errorf("reason %q arrived as %q", reason, e.Detail)
			}
			wantEnded(t, a, b)
			if a.lastCode() != 0 || b.lastCode() != 0 {
				t.Error("a declined offer was reset")
			}
			if _, err := in.Accept(t.Context(), openDir(t), AcceptOptions{}); !errors.Is(err, ErrDeclined) {
				t.Errorf("Accept after Decline: %v", err)
			}
		})
	}
}

// TestCancel: whoever cancels, and whenever, both sides say cancelled, the code of
// both resets is the same, and no file is left.
func TestCancel(t *testing.T) {
	for _, test := range []struct {
		name     string
		inBody   bool
		bySender bool
	}{
		{"by the sender, the offer pending", false, true},
		{"by the receiver, the offer pending", false, false},
		{"by the sender, in the body", true, true},
		{"by the receiver, in the body", true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := memPipe("")
				dir := openDir(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				sent := send(ctx, a, sourceOf(t, writeFile(t, "f", content(big))), SendOptions{})
				gate := gated(b, big/2)
				in, err := ReadOffer(t.Context(), gate, ReceiveOptions{})
				if err != nil {
					t.Fatal(err)
				}
				var accepted <-chan error
				if test.inBody {
					accepted = accept(t, in, dir)
				}
				synctest.Wait() // both sides are stuck: in the offer, or in the middle of the body
				if test.bySender {
					cancel()
				} else {
					in.Cancel()
				}
				out := <-sent
				close(gate.open)
				if test.inBody {
					if err := <-accepted; !errors.Is(err, ErrCancelled) {
						t.Errorf("Accept: %v", err)
					}
				}
				<-in.Done()
				local, remote := out.err, in.Err()
				if !test.bySender {
					local, remote = remote, local
				}
				wantKind(t, "who cancelled", local, ErrCancelled, Local)
				wantKind(t, "the other", remote, ErrCancelled, Remote)
				if a.lastCode() != 0x0101 || b.lastCode() != 0x0101 {
					t.Errorf("codes %#x and %#x, want both 0x101", a.lastCode(), b.lastCode())
				}
				wantEnded(t, a, b)
				wantEmpty(t, dir)
			})
		})
	}
}

// gatedStream delivers limit bytes, and the rest when the gate opens.
type gatedStream struct {
	Stream
	limit   int
	once    sync.Once
	reached chan struct{} // closed when the limit was delivered
	open    chan struct{} // closed by the test
}

func gated(s Stream, limit int) *gatedStream {
	return &gatedStream{Stream: s, limit: limit, reached: make(chan struct{}), open: make(chan struct{})}
}

func (s *gatedStream) Read(p []byte) (int, error) {
	if s.limit <= 0 {
		s.once.Do(func() { close(s.reached) })
		<-s.open
		return s.Stream.Read(p)
	}
	n, err := s.Stream.Read(p[:min(len(p), s.limit)])
	s.limit -= n
	return n, err
}

// accept runs Accept beside the test.
func accept(t *testing.T, in *Incoming, dir *Dir) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := in.Accept(t.Context(), dir, AcceptOptions{})
		done <- err
	}()
	return done
}

// TestCancelAfterTrailer: a sender that is cancelled while the receiver verifies
// still learns that the file was stored.
func TestCancelAfterTrailer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memPipe("")
		ctx, cancel := context.WithCancel(t.Context())
		sent := send(ctx, a, sourceOf(t, writeFile(t, "f", nil)), SendOptions{})
		peer := rawPeer{t, b}
		peer.header()
		peer.write("GO 0 0\n")
		peer.readAll()
		synctest.Wait()
		cancel()
		<-time.After(VerdictGrace - time.Millisecond)
		peer.write("OK\n")
		if out := <-sent; out.err != nil {
			t.Errorf("Send: %v", out.err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		a, b := memPipe("")
		ctx, cancel := context.WithCancel(t.Context())
		sent := send(ctx, a, sourceOf(t, writeFile(t, "f", nil)), SendOptions{})
		peer := rawPeer{t, b}
		peer.header()
		peer.write("GO 0 0\n")
		peer.readAll()
		synctest.Wait()
		cancel()
		start := time.Now()
		wantKind(t, "sender", (<-sent).err, ErrCancelled, Local)
		if waited := time.Since(start); waited != VerdictGrace {
			t.Errorf("waited %v for the verdict, want %v", waited, VerdictGrace)
		}
	})
}

// TestLinkDies in the middle of the body: both sides say interrupted.
func TestLinkDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memPipe("")
		dir := openDir(t)
		sent := send(t.Context(), a, sourceOf(t, writeFile(t, "f", content(big))), SendOptions{})
		gate := gated(b, big/2)
		in, err := ReadOffer(t.Context(), gate, ReceiveOptions{})
		if err != nil {
			t.Fatal(err)
		}
		accepted := accept(t, in, dir)
		synctest.Wait()
		broken := errors.New("link lost")
		a.fail(broken)
		close(gate.open)
		for who, err := range map[string]error{"sender": (<-sent).err, "receiver": <-accepted} {
			wantKind(t, who, err, ErrInterrupted, Local)
			if !errors.Is(err, broken) {
				t.Errorf("%s lost the cause: %v", who, err)
			}
		}
		wantEmpty(t, dir)
	})
}

// TestStall: a peer that lives but does nothing is not waited for forever.
func TestStall(t *testing.T) {
	t.Run("receiver stops reading", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := memPipe("")
			sent := send(t.Context(), a, sourceOf(t, writeFile(t, "f", content(big))), SendOptions{})
			peer := rawPeer{t, b}
			peer.header()
			peer.write("GO 0 0\n")
			start := time.Now()
			err := (<-sent).err
			wantKind(t, "sender", err, ErrInterrupted, Local)
			if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != StallTimeout {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
		})
	})
	t.Run("sender stops writing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := memPipe("")
			dir := openDir(t)
			rawPeer{t, a}.write(goodHeader(5))
			in, err := ReadOffer(t.Context(), b, ReceiveOptions{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = in.Accept(t.Context(), dir, AcceptOptions{Stall: time.Minute})
			wantKind(t, "receiver", err, ErrInterrupted, Local)
			wantEmpty(t, dir)
		})
	})
	t.Run("header does not come", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, b := memPipe("")
			start := time.Now()
			_, err := ReadOffer(t.Context(), b, ReceiveOptions{})
			wantKind(t, "receiver", err, ErrInterrupted, Local)
			if time.Since(start) != HeaderTimeout {
				t.Errorf("waited %v", time.Since(start))
			}
		})
	})
}

// TestSenderWithdraws while the offer is in the inbox: Done says so, and a late
// Accept gets the same error.
func TestSenderWithdraws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memPipe("")
		rawPeer{t, a}.write(goodHeader(5))
		in, err := ReadOffer(t.Context(), b, ReceiveOptions{})
		if err != nil {
			t.Fatal(err)
		}
		a.Close()
		<-in.Done()
		_, err = in.Accept(t.Context(), openDir(t), AcceptOptions{})
		wantKind(t, "receiver", err, ErrInterrupted, Remote)
		in.Cancel()
		if err := in.Decline(""); !errors.Is(err, ErrInterrupted) {
			t.Errorf("Decline: %v", err)
		}
	})
}

// TestBodyBeforeGO: what comes before the answer ends the transfer.
func TestBodyBeforeGO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memPipe("")
		rawPeer{t, a}.write(goodHeader(5))
		in, err := ReadOffer(t.Context(), b, ReceiveOptions{})
		if err != nil {
			t.Fatal(err)
		}
		rawPeer{t, a}.write("hello")
		<-in.Done()
		wantKind(t, "receiver", in.Err(), ErrProtocol, Local)
	})
}

// TestPeerDiesOnTCP: over real sockets a reset has no code, and is an interruption.
func TestPeerDiesOnTCP(t *testing.T) {
	a, b := tcpPipe(t)
	dir := openDir(t)
	sent := send(t.Context(), a, sourceOf(t, writeFile(t, "f", content(64*blockSize))), SendOptions{})
	in, err := ReadOffer(t.Context(), &dyingStream{Stream: b, limit: 10 * blockSize}, ReceiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = in.Accept(t.Context(), dir, AcceptOptions{})
	if !errors.Is(err, ErrInterrupted) {
		t.Errorf("receiver: %v", err)
	}
	if err := (<-sent).err; !errors.Is(err, ErrInterrupted) {
		t.Errorf("sender: %v", err)
	}
	wantEmpty(t, dir)
}

// dyingStream is a process that is killed after limit bytes.
type dyingStream struct {
	Stream
	limit int
}

func (s *dyingStream) Read(p []byte) (int, error) {
	if s.limit <= 0 {
		s.Close()
		return 0, net.ErrClosed
	}
	n, err := s.Stream.Read(p)
	s.limit -= n
	return n, err
}

// TestSourceChanges while it is sent, or while the offer waits.
func TestSourceChanges(t *testing.T) {
	change := map[string]func(path string) error{
		"shorter": func(path string) error { return os.Truncate(path, 5*blockSize) },
		"longer": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.WriteString(f, "more")
			return err
		},
		"touched": func(path string) error {
			return os.Chtimes(path, time.Time{}, time.Unix(1e9, 0))
		},
	}
	for name, change := range change {
		for _, when := range []string{"in the inbox", "in the body"} {
			t.Run(name+" "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b := memPipe("")
					dir := openDir(t)
					path := writeFile(t, "f", content(big))
					sent := send(t.Context(), a, sourceOf(t, path), SendOptions{})
					gate := gated(b, blockSize)
					in, err := ReadOffer(t.Context(), gate, ReceiveOptions{})
					if err != nil {
						t.Fatal(err)
					}
					var accepted <-chan error
					if when == "in the body" {
						accepted = accept(t, in, dir)
						synctest.Wait()
					}
					if err := change(path); err != nil {
						t.Fatal(err)
					}
					close(gate.open)
					if when == "in the inbox" {
						accepted = accept(t, in, dir)
					}
					wantKind(t, "sender", (<-sent).err, ErrChanged, Local)
					wantKind(t, "receiver", <-accepted, ErrChanged, Remote)
					wantEmpty(t, dir)
				})
			})
		}
	}
}

// TestSourceIsDeleted or renamed before it is opened: it changed, and nothing of it is sent. From then on the open file is what is sent.
func TestSourceIsDeleted(t *testing.T) {
	path := writeFile(t, "f", content(big))
	for _, started := range []bool{false, true} {
		a, b := memPipe("")
		dir := openDir(t)
		src := sourceOf(t, path)
		sent := send(t.Context(), a, src, SendOptions{})
		gate := gated(b, blockSize)
		in, err := ReadOffer(t.Context(), gate, ReceiveOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var accepted <-chan error
		if started {
			accepted = accept(t, in, dir)
			<-gate.reached
		}
		moved := path + " moved"
		if err := os.Rename(path, moved); err != nil {
			t.Fatal(err)
		}
		close(gate.open)
		if !started {
			accepted = accept(t, in, dir)
			wantKind(t, "receiver", <-accepted, ErrChanged, Remote)
			wantKind(t, "sender", (<-sent).err, ErrChanged, Local)
		} else if err, out := <-accepted, <-sent; err != nil || out.err != nil {
			t.Error(err, out.err)
		}
		if err := os.Rename(moved, path); err != nil {
			t.Fatal(err)
		}
	}
}
