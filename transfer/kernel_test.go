package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"traverse.internal/core/ktls"
	"traverse.internal/core/mux"
	"traverse.internal/core/tls"
	"traverse.internal/identity"
	"traverse.internal/transfer"
)

// secured is a session over TLS over loopback, with the record layers in the kernel or not.
func secured(t testing.TB, kernel bool) (a, b *mux.Session) {
	t.Helper()
	if kernel && !ktls.Available() {
		t.Skip("no kernel TLS here; internal/uml runs this in a kernel that has it")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	caller, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	called, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if !kernel { // not bare
		caller, called = struct{ net.Conn }{caller}, struct{ net.Conn }{called}
	}
	da, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	db, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var la, lb *tls.Link
	var errA, errB error
	var both sync.WaitGroup
	both.Go(func() { la, errA = tls.AsServer(ctx, caller, nil, da, db.ID()) })
	both.Go(func() { lb, errB = tls.AsClient(ctx, called, nil, db, da.ID()) })
	both.Wait()
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if a, err = mux.Start(la, mux.Config{}); err != nil {
		t.Fatal(err)
	}
	opening, err := mux.Receive(lb)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = mux.Answer(lb, opening, mux.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// copying hides that a channel takes files as they are.
type copying struct{ transfer.Stream }

// move sends path from a to b into dir.
func move(t testing.TB, a, b *mux.Session, path string, dir *transfer.Dir, wrap func(*mux.Channel) transfer.Stream) transfer.Result {
	t.Helper()
	type outcome struct {
		res transfer.Result
		err error
	}
	received := make(chan outcome, 1)
	go func() {
		r, err := b.Accept(t.Context())
		if err != nil {
			received <- outcome{err: err}
			return
		}
		ch, err := r.Accept()
		if err != nil {
			received <- outcome{err: err}
			return
		}
		in, err := transfer.ReadOffer(t.Context(), ch, transfer.ReceiveOptions{})
		if err != nil {
			received <- outcome{err: err}
			return
		}
		res, err := in.Accept(t.Context(), dir, transfer.AcceptOptions{NoSync: true})
		received <- outcome{res, err}
	}()
	src, err := transfer.NewSource(path)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	id := transfer.NewID()
	ch, err := a.Open(t.Context(), transfer.ChannelName(id))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transfer.Send(t.Context(), wrap(ch), src, transfer.SendOptions{ID: id}); err != nil {
		t.Error(err)
	}
	got := <-received
	if got.err != nil {
		t.Fatal(got.err)
	}
	return got.res
}

func asIs(c *mux.Channel) transfer.Stream { return c }

// TestOverTLS: files of lengths around those of frames and chunks, by reference where they are long enough.
func TestOverTLS(t *testing.T) {
	for _, kernel := range []bool{false, true} {
		t.Run(fmt.Sprintf("in the kernel %v", kernel), func(t *testing.T) {
			a, b := secured(t, kernel)
			dir, err := transfer.OpenDir(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer dir.Close()
			total := uint64(0)
			for _, size := range []int{0, 1, 65_535, 65_536, 1<<20 - 1, 1 << 20, 9<<20 + 12_345} {
				want := make([]byte, size)
				for i := range want {
					want[i] = byte(i * 7 / 3)
				}
				path := filepath.Join(t.TempDir(), fmt.Sprintf("file %d", size))
				if err := os.WriteFile(path, want, 0o600); err != nil {
					t.Fatal(err)
				}
				res := move(t, a, b, path, dir, asIs)
				got, err := os.ReadFile(filepath.Join(dir.Path(), res.Name))
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes: %d arrived, %v, or other ones", size, len(got), err)
				}
				total += uint64(size)
			}
			st := a.Stats()
			if by := st.FileSent + st.FileCopied; by < total*9/10 || kernel != (st.FileSent > 0) || kernel && st.FileCopied > 0 {
				t.Errorf("of %d bytes %d by sendfile, %d copied", total, st.FileSent, st.FileCopied)
			}
		})
	}
}

// BenchmarkOverTLS is one file over a session, verified at both ends: given to the mux as it is, or copied into it.
func BenchmarkOverTLS(b *testing.B) {
	const size = 256 << 20
	path := filepath.Join(b.TempDir(), "file")
	if err := os.WriteFile(path, bytes.Repeat([]byte("0123456789abcdef"), size/16), 0o600); err != nil {
		b.Fatal(err)
	}
	for _, kernel := range []bool{false, true} {
		for name, wrap := range map[string]func(*mux.Channel) transfer.Stream{
			"by reference": asIs, "copied": func(c *mux.Channel) transfer.Stream { return copying{c} },
		} {
			b.Run(fmt.Sprintf("in the kernel %v, %s", kernel, name), func(b *testing.B) {
				from, to := secured(b, kernel)
				dir, err := transfer.OpenDir(b.TempDir())
				if err != nil {
					b.Fatal(err)
				}
				defer dir.Close()
				b.SetBytes(size)
				for b.Loop() {
					res := move(b, from, to, path, dir, wrap)
					if err := os.Remove(filepath.Join(dir.Path(), res.Name)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
