package mux_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"traverse.internal/core/framing"
	"traverse.internal/core/ktls"
	"traverse.internal/core/mux"
	"traverse.internal/core/tls"
	"traverse.internal/identity"
)

// ends are two devices that link with each other over TCP and TLS.
type ends struct {
	a, b             *identity.Device
	kernelA, kernelB bool
}

// everyMixture runs a test with either end's record layer in the kernel or not; where the kernel has none, with neither.
func everyMixture(t *testing.T, test func(t *testing.T, e *ends)) {
	for _, a := range []bool{false, true} {
		for _, b := range []bool{false, true} {
			t.Run(fmt.Sprintf("offerer in kernel %v, answerer %v", a, b), func(t *testing.T) {
				if (a || b) && !ktls.Available() {
					t.Skip("no kernel TLS here; internal/uml runs this in a kernel that has it")
				}
				e := &ends{kernelA: a, kernelB: b}
				var err error
				if e.a, err = identity.New(); err != nil {
					t.Fatal(err)
				}
				if e.b, err = identity.New(); err != nil {
					t.Fatal(err)
				}
				test(t, e)
			})
		}
	}
}

// link makes a TLS link; the offerer is the server.
func (e *ends) link(t *testing.T) (a, b *tls.Link) {
	t.Helper()
	ra, rb := tcp(t)
	raw := func(c io.ReadWriteCloser, kernel bool) net.Conn {
		if kernel {
			return c.(*net.TCPConn)
		}
		return struct{ net.Conn }{c.(net.Conn)} // not bare
	}
	ctx, cancel := contextFor(t, 20*time.Second)
	defer cancel()
	var errA, errB error
	var both sync.WaitGroup
	both.Go(func() { a, errA = tls.AsServer(ctx, raw(ra, e.kernelA), nil, e.a, e.b.ID()) })
	both.Go(func() { b, errB = tls.AsClient(ctx, raw(rb, e.kernelB), nil, e.b, e.a.ID()) })
	both.Wait()
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if a.InKernel() != e.kernelA || b.InKernel() != e.kernelB {
		t.Fatalf("in the kernel: %v, %v", a.InKernel(), b.InKernel())
	}
	return a, b
}

// resume puts the session on a new link.
func (e *ends) resume(t *testing.T, a, b *mux.Session) *tls.Link {
	t.Helper()
	la, lb := e.link(t)
	exporter, err := la.Exporter(framing.ExporterLabel)
	if err != nil {
		t.Fatal(err)
	}
	taken := make(chan error, 1)
	go func() {
		op, err := mux.Receive(lb)
		if err == nil {
			err = b.AttachAnswer(t.Context(), lb, op, exporter)
		}
		taken <- err
	}()
	if err := errors.Join(a.Attach(t.Context(), la, exporter), <-taken); err != nil {
		t.Fatal(err)
	}
	return la
}

// TestSessionOverTLS: files both ways at once by ReadFrom, small messages beside them, the link cut twice on the way.
func TestSessionOverTLS(t *testing.T) {
	const size = 12 << 20
	everyMixture(t, func(t *testing.T, e *ends) {
		la, lb := e.link(t)
		a, b := sessions(t, la, lb, mux.Config{}, mux.Config{})
		var work sync.WaitGroup
		pings, pongs := open(t, a, b, "ping")
		echo := make(chan struct{})
		go func() {
			defer close(echo)
			_, _ = io.Copy(pongs, struct{ io.Reader }{pongs})
		}()
		quarter := make(chan struct{}, 2)
		for _, s := range [][2]*mux.Session{{a, b}, {b, a}} {
			from, to := open(t, s[0], s[1], "file")
			f, content := randomFile(t, size)
			from.SetPriority(mux.Bulk)
			work.Go(func() {
				if n, err := from.ReadFrom(f); n != size || err != nil {
					t.Errorf("ReadFrom: %d, %v", n, err)
				}
				f.Close()
				from.CloseWrite()
			})
			work.Go(func() {
				hash := sha256.New()
				if _, err := io.CopyN(hash, to, size/4); err != nil {
					t.Error(err)
				}
				quarter <- struct{}{}
				n, err := io.Copy(hash, to)
				if n != size-size/4 || err != nil || [32]byte(hash.Sum(nil)) != sha256.Sum256(content) {
					t.Errorf("%d bytes behind the first quarter, %v, or other ones", n, err)
				}
			})
		}
		for range 2 {
			<-quarter
			down := a.LinkDown()
			_ = la.NetConn().Close() // the wire is gone in the middle of a record
			<-down
			<-b.LinkDown()
			la = e.resume(t, a, b)
		}
		for i := range 100 {
			text := fmt.Appendf(nil, "message %d", i)
			if _, err := pings.Write(text); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(text))
			if _, err := io.ReadFull(pings, got); err != nil || !bytes.Equal(got, text) {
				t.Fatalf("%q, %v", got, err)
			}
		}
		pings.Close()
		work.Wait()
		<-echo
		for name, s := range map[string]*mux.Session{"a": a, "b": b} {
			st := s.Stats()
			kernel := e.kernelA
			if name == "b" {
				kernel = e.kernelB
			}
			if st.Resumes != 2 || kernel && (st.FileSent < size*9/10 || st.FileCopied != 0) || !kernel && st.FileSent != 0 {
				t.Errorf("%s: %d resumes, %d bytes by sendfile, %d copied, in the kernel %v", name, st.Resumes, st.FileSent, st.FileCopied, kernel)
			}
		}
		a.Close()
		<-b.Done()
		var away *mux.GoAwayError
		if !errors.As(b.Err(), &away) {
			t.Errorf("b ended with %v, want the good-bye", b.Err())
		}
	})
}

// TestFileChangesOverTLS: a file that becomes shorter while it is sent costs its channel and nothing else.
func TestFileChangesOverTLS(t *testing.T) {
	everyMixture(t, func(t *testing.T, e *ends) {
		la, lb := e.link(t)
		a, b := sessions(t, la, lb, mux.Config{}, mux.Config{})
		from, to := open(t, a, b, "file")
		f, _ := randomFile(t, 8<<20)
		go func() { _, _ = from.ReadFrom(f) }()
		if _, err := io.CopyN(io.Discard, to, 1<<20); err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(1 << 10); err != nil {
			t.Fatal(err)
		}
		_, err := io.Copy(io.Discard, to)
		var reset *mux.ResetError
		if !errors.As(err, &reset) || reset.Code != framing.CodeFileChanged {
			t.Errorf("reader: %v, want a reset with code %d", err, framing.CodeFileChanged)
		}
		x, y := open(t, a, b, "after")
		if _, err := x.Write([]byte("still here")); err != nil {
			t.Fatal(err)
		}
		text := make([]byte, 10)
		if _, err := io.ReadFull(y, text); string(text) != "still here" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
		if n := a.Stats().LinksLost; n != 0 {
			t.Errorf("%d links lost", n)
		}
	})
}
