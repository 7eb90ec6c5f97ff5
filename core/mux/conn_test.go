package mux_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"traverse.internal/core/framing"
	"traverse.internal/core/mux"
)

// links are the streams that the tests below run over.
var links = []struct {
	name string
	make func(t testing.TB) (a, b io.ReadWriteCloser)
}{
	{"buffered", func(testing.TB) (a, b io.ReadWriteCloser) { return toLinks(wire(wireSize)) }},
	{"7 bytes at a time", func(testing.TB) (a, b io.ReadWriteCloser) { return toLinks(wire(7)) }},
	{"net.Pipe", func(testing.TB) (a, b io.ReadWriteCloser) { return toPipe(net.Pipe()) }},
	{"TCP", tcp},
}

func toLinks(a, b *side) (_, _ io.ReadWriteCloser) { return a, b }

func toPipe(a, b net.Conn) (_, _ io.ReadWriteCloser) { return a, b }

func tcp(t testing.TB) (a, b io.ReadWriteCloser) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return a.(net.Conn), b
}

// TestConn runs the standard's conformance test for connections over several kinds of links.
func TestConn(t *testing.T) {
	for _, link := range links {
		t.Run(link.name, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				la, lb := link.make(t)
				a, b := sessions(t, la, lb, mux.Config{}, mux.Config{})
				from, to := open(t, a, b, "conn")
				return from, to, func() {
					from.Close()
					to.Close()
					a.Close()
					b.Close()
				}, nil
			})
		})
	}
}

// TestHalfClose: each direction ends by itself, behind all its data.
func TestHalfClose(t *testing.T) {
	for _, link := range links {
		t.Run(link.name, func(t *testing.T) {
			la, lb := link.make(t)
			a, b := sessions(t, la, lb, mux.Config{}, mux.Config{})
			from, to := open(t, a, b, "half")
			question, answer := make([]byte, 300_000), make([]byte, 500_000)
			fill(question, 1)
			fill(answer, 2)

			go func() {
				if _, err := from.Write(question); err != nil {
					t.Error(err)
				}
				if err := from.CloseWrite(); err != nil {
					t.Error(err)
				}
			}()
			got, err := io.ReadAll(to)
			if err != nil || !bytes.Equal(got, question) {
				t.Fatalf("question: %d bytes, %v; want %d and the end", len(got), err, len(question))
			}
			if _, err := from.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write behind CloseWrite: %v, want net.ErrClosed", err)
			}
			if err := from.CloseWrite(); err != nil {
				t.Errorf("second CloseWrite: %v, want nil", err)
			}
			// The other direction is as it was.
			go func() {
				if _, err := to.Write(answer); err != nil {
					t.Error(err)
				}
				to.CloseWrite()
			}()
			got, err = io.ReadAll(from)
			if err != nil || !bytes.Equal(got, answer) {
				t.Fatalf("answer: %d bytes, %v; want %d and the end", len(got), err, len(answer))
			}
			<-from.Done()
			<-to.Done()
			if n := a.Stats().Channels; n != 0 {
				t.Errorf("%d channels are left on the opener's side, want 0", n)
			}
		})
	}
}

// fill makes bytes that show where they belong.
func fill(b []byte, seed uint64) {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
}

// TestCloseOfAReader: who closes while the peer writes on does not lose what it wrote itself, and the peer's writes
// end.
func TestCloseOfAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t)
		from, to := open(t, a, b, "close")
		if _, err := to.Write([]byte("last words")); err != nil {
			t.Fatal(err)
		}
		to.Close()
		synctest.Wait()
		var err error
		for range 100 {
			if _, err = from.Write(make([]byte, 10_000)); err != nil {
				break
			}
			synctest.Wait()
		}
		var reset *mux.ResetError
		if !errors.As(err, &reset) || reset.Code != framing.CodeNotReading || !reset.Remote {
			t.Errorf("write to a closed reader: %v, want the peer's reset with %v", err, framing.CodeNotReading)
		}
		got, err := io.ReadAll(from)
		if string(got) != "last words" || err != nil {
			t.Errorf("read %q, %v; want the last words and the end", got, err)
		}
		if _, err := to.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after Close: %v, want net.ErrClosed", err)
		}
		if u := b.Stats().Unread; u != 0 {
			t.Errorf("%d bytes are unread on a closed channel, want 0", u)
		}
	})
}

// TestReset: both sides' calls end with the code and the reason, at once.
func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t)
		from, to := open(t, a, b, "reset")
		if _, err := to.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 1)
		go func() {
			_, err := io.ReadAll(to)
			read <- err
		}()
		synctest.Wait()
		if err := from.Reset(uint16(framing.CodeApplication)+7, "enough"); err != nil {
			t.Fatal(err)
		}
		var reset *mux.ResetError
		if err := <-read; !errors.As(err, &reset) || reset.Code != framing.CodeApplication+7 || reset.Reason != "enough" || !reset.Remote {
			t.Errorf("peer's read: %v, want the reset", err)
		}
		if _, err := to.Write([]byte("x")); !errors.As(err, &reset) {
			t.Errorf("peer's write: %v, want the reset", err)
		}
		if _, err := from.Read(make([]byte, 1)); !errors.As(err, &reset) || reset.Remote {
			t.Errorf("own read: %v, want the reset", err)
		}
		synctest.Wait()
		for name, s := range map[string]*mux.Session{"own": a, "peer's": b} {
			st := s.Stats()
			if st.Channels != 0 || st.Unread != 0 || st.ReceiveMemory != 0 {
				t.Errorf("%s side after reset: %d channels, %d unread, %d memory; want none", name, st.Channels, st.Unread, st.ReceiveMemory)
			}
		}
	})
}

// TestCloseWithError: what was written arrives, whole and over a link that breaks meanwhile, and behind it the reset.
func TestCloseWithError(t *testing.T) {
	for _, size := range []int{0, 5, 1000, 100_000, 200_000} {
		for _, broken := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				ca, cb := wire(1 << 10) // far less than what is queued
				a, b := sessions(t, ca, cb, mux.Config{}, mux.Config{})
				from, to := open(t, a, b, "flush")
				if _, err := to.Write(make([]byte, 1000)); err != nil {
					t.Fatal(err)
				}
				said := bytes.Repeat([]byte("last words"), size/10+1)[:size]
				// What the queue takes beyond the wire's room waits there until the other side reads.
				cb.in.hold(true)
				written := make(chan error, 1)
				go func() {
					_, err := from.Write(said)
					written <- err
				}()
				synctest.Wait()
				select {
				case err := <-written:
					if err != nil {
						t.Fatal(err)
					}
				default:
					t.Fatalf("%d bytes do not fit the queue", size)
				}
				if err := from.CloseWithError(uint16(framing.CodeApplication)+9, "failed"); err != nil {
					t.Fatal(err)
				}
				var reset *mux.ResetError
				if _, err := from.Write(said); size > 0 && !errors.As(err, &reset) {
					t.Errorf("a write behind it: %v, want the reset", err)
				}
				if broken {
					ca.cut()
					cb.cut()
					ca, cb = wire(wireSize)
					if err := attach(t, a, b, ca, cb, 1); err != nil {
						t.Fatal(err)
					}
				}
				cb.in.hold(false)
				synctest.Wait() // the reset is there before anything is read
				got, err := io.ReadAll(to)
				if !bytes.Equal(got, said) || !errors.As(err, &reset) || reset.Code != framing.CodeApplication+9 || !reset.Remote {
					t.Errorf("%d bytes, broken %v: the peer read %d and %v, want all and the reset", size, broken, len(got), err)
				}
				synctest.Wait()
				for name, s := range map[string]*mux.Session{"own": a, "peer's": b} {
					if st := s.Stats(); st.Channels != 0 || st.Unread != 0 || st.ReceiveMemory != 0 {
						t.Errorf("%s side: %d channels, %d unread, %d memory; want none", name, st.Channels, st.Unread, st.ReceiveMemory)
					}
				}
			})
		}
	}
}

// TestDeadlines: hours pass, in both directions, whatever the link does.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t)
		from, to := open(t, a, b, "deadline")
		began := time.Now()
		from.SetReadDeadline(began.Add(time.Hour))
		if _, err := from.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v, want os.ErrDeadlineExceeded", err)
		}
		from.SetWriteDeadline(began.Add(2 * time.Hour))
		n, err := from.Write(make([]byte, 1<<20)) // nobody reads
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %v, want os.ErrDeadlineExceeded", err)
		}
		if passed := time.Since(began); passed != 2*time.Hour {
			t.Errorf("%v passed, want 2h", passed)
		}
		from.SetDeadline(time.Time{})
		from.CloseWrite()
		got, err := io.ReadAll(to)
		if len(got) != n || err != nil {
			t.Errorf("reader got %d bytes, %v; want the %d that Write said", len(got), err, n)
		}
	})
}

// TestAddresses: an end's address names session, channel and side.
func TestAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t)
		from, to := open(t, a, b, "addr")
		if from.LocalAddr() != to.RemoteAddr() || from.RemoteAddr() != to.LocalAddr() || from.LocalAddr() == to.LocalAddr() {
			t.Errorf("addresses %v-%v and %v-%v do not match", from.LocalAddr(), from.RemoteAddr(), to.LocalAddr(), to.RemoteAddr())
		}
		if got := from.LocalAddr().Network(); got != "traverse" {
			t.Errorf("network %q, want traverse", got)
		}
		if from.Name() != "addr" || to.Name() != "addr" || from.ID() != 0x8000 || from.Session() != a {
			t.Errorf("channel is %q, %#x", from.Name(), from.ID())
		}
	})
}
