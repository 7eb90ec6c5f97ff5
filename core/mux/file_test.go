package mux_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/framing"
	"traverse.internal/core/mux"
	"traverse.internal/core/zerocopy"
)

// fileSide is an end of a wire that sends files, as a link in the kernel does. Its sender may be stopped half way.
type fileSide struct {
	*side
	sent  atomic.Int64
	spoil func(file *os.File, n int) // called before each
}

func (s *fileSide) SendsFiles() bool { return true }

func (s *fileSide) SendFile(head []byte, file *os.File, offset int64, n int) (int, error) {
	if s.spoil != nil {
		s.spoil(file, n)
	}
	body := make([]byte, n)
	k, readErr := file.ReadAt(body, offset)
	wrote, err := s.Write(append(bytes.Clone(head), body[:k]...))
	s.sent.Add(int64(max(0, wrote-len(head))))
	if err == nil && k < n {
		err = &zerocopy.FileError{Err: readErr}
	}
	return wrote, err
}

// randomFile makes a file of size bytes that do not repeat.
func randomFile(t testing.TB, size int) (*os.File, []byte) {
	t.Helper()
	r := rand.NewChaCha8([32]byte{byte(size)})
	content := make([]byte, size)
	_, _ = r.Read(content)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, content
}

// TestReadFrom sends files, whole and in parts, between other bytes, on links that send files and ones that do not.
func TestReadFrom(t *testing.T) {
	for _, kernel := range []bool{false, true} {
		for _, size := range []int{0, 1, 31 << 10, 32 << 10, 65532, 65533, 1 << 20, 5<<20 + 17} {
			t.Run(fmt.Sprintf("%d bytes, by the link %v", size, kernel), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					la, lb := wire(wireSize)
					fa := &fileSide{side: la}
					var ra io.ReadWriteCloser = la
					if kernel {
						ra = fa
					}
					a, b := sessions(t, ra, lb, mux.Config{}, mux.Config{})
					from, to := open(t, a, b, "file")
					f, content := randomFile(t, size)
					go func() {
						_, _ = from.Write([]byte("head"))
						if n, err := from.ReadFrom(io.LimitReader(f, int64(size)/2)); n != int64(size)/2 || err != nil {
							t.Errorf("first half: %d, %v", n, err)
						}
						_, _ = from.Write([]byte("between"))
						if n, err := from.ReadFrom(f); n != int64(size-size/2) || err != nil {
							t.Errorf("second half: %d, %v", n, err)
						}
						f.Close()
						from.CloseWrite()
					}()
					got, err := io.ReadAll(to)
					want := append(append(append([]byte("head"), content[:size/2]...), "between"...), content[size/2:]...)
					if err != nil || !bytes.Equal(got, want) {
						t.Fatalf("%d bytes, %v; want %d, or other ones", len(got), err, len(want))
					}
					idle(t)
					st := a.Stats()
					if st.Files != 0 || st.Queued != 0 || st.Retained != 0 {
						t.Errorf("after all is acknowledged: %+v", st)
					}
					switch by := st.FileSent + st.FileCopied; {
					case kernel && (st.FileCopied != 0 || st.FileSent != uint64(fa.sent.Load())), !kernel && st.FileSent != 0:
						t.Errorf("sent %d, copied %d", st.FileSent, st.FileCopied)
					case size/2 >= 32<<10 && by < uint64(size)*9/10-64<<10, size < 32<<10 && by != 0:
						t.Errorf("%d of %d bytes by reference", by, size)
					}
				})
			})
		}
	}
}

// TestFileIsSentAgain cuts the link at a random byte, several times: what is sent again comes from the file, on links of
// both kinds in turn.
func TestFileIsSentAgain(t *testing.T) {
	for seed := range 20 {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 1))
			la, lb := wire(wireSize)
			a, b := sessions(t, &fileSide{side: la}, lb, mux.Config{}, mux.Config{})
			from, to := open(t, a, b, "file")
			f, content := randomFile(t, 3<<20)
			go func() {
				if _, err := from.ReadFrom(f); err != nil {
					t.Error(err)
				}
				f.Close()
				from.CloseWrite()
			}()
			got := make([]byte, len(content))
			read := make(chan error, 1)
			go func() {
				_, err := io.ReadFull(to, got)
				read <- err
			}()
			for cut := range 4 {
				la.out.cutAfter(1+r.IntN(len(content)/4), la.cut)
				synctest.Wait()
				select {
				case <-a.LinkDown():
				default:
					continue // all was through before
				}
				la.cut()
				na, nb := wire(wireSize)
				var ra io.ReadWriteCloser = na
				if cut%2 == 1 {
					ra = &fileSide{side: na}
				}
				if err := attach(t, a, b, ra, nb, cut); err != nil {
					t.Fatal(err)
				}
				la = na
			}
			if err := <-read; err != nil || !bytes.Equal(got, content) {
				t.Fatalf("seed %d: %v, or other bytes", seed, err)
			}
			idle(t)
			st := a.Stats()
			if st.BytesResent == 0 || st.Files != 0 {
				t.Errorf("seed %d: %+v", seed, st)
			}
		})
	}
}

// TestFileChangedBetweenLinks: bytes that have to be sent again and cannot be had reset their channel before one of them
// arrives; the others go on.
func TestFileChangedBetweenLinks(t *testing.T) {
	for _, truncate := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			l := newLinked(t, mux.Config{})
			from, to := open(t, l.a, l.b, "file")
			other, otherEnd := open(t, l.a, l.b, "other")
			f, content := randomFile(t, 200<<10)
			l.la.out.hold(true)
			if _, err := from.ReadFrom(f); err != nil {
				t.Fatal(err)
			}
			if _, err := other.Write([]byte("still here")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			l.la.cut()
			spoil(t, f, truncate)
			l.relink(true)
			got, err := io.ReadAll(to)
			var reset *mux.ResetError
			if !errors.As(err, &reset) || reset.Code != framing.CodeFileChanged || !reset.Remote {
				t.Errorf("reader: %v, want a reset with code %d", err, framing.CodeFileChanged)
			}
			if !bytes.HasPrefix(content, got) {
				t.Errorf("%d bytes were read that the file never had", len(got))
			}
			if _, err := from.Write([]byte("x")); !errors.As(err, &reset) || reset.Code != framing.CodeFileChanged {
				t.Errorf("writer: %v, want a reset with code %d", err, framing.CodeFileChanged)
			}
			text := make([]byte, 10)
			if _, err := io.ReadFull(otherEnd, text); string(text) != "still here" || err != nil {
				t.Errorf("other channel: %q, %v", text, err)
			}
			idle(t)
			if a, b := l.a.Stats(), l.b.Stats(); a.FilesChanged != 1 || a.Files != 0 || b.Violations != 0 || a.Channels != 1 || b.Channels != 1 {
				t.Errorf("a %+v\nb %+v", a, b)
			}
		})
	}
}

// spoil makes the file another one.
func spoil(t testing.TB, f *os.File, truncate bool) {
	t.Helper()
	var err error
	if truncate {
		err = f.Truncate(1000)
	} else {
		_, err = f.WriteAt([]byte("other"), 70<<10)
		err = errors.Join(err, os.Chtimes(f.Name(), time.Time{}, time.Now().Add(time.Hour)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestFileChangesWhileSent: also in the middle of a frame, whose length the peer knows already.
func TestFileChangesWhileSent(t *testing.T) {
	for _, truncate := range []bool{true, false} {
		for _, kernel := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				la, lb := wire(wireSize)
				f, _ := randomFile(t, 1<<20)
				fa := &fileSide{side: la}
				var ra io.ReadWriteCloser = la
				if kernel {
					ra = fa
					calls := 0
					fa.spoil = func(*os.File, int) {
						if calls++; calls == 3 {
							spoil(t, f, truncate)
						}
					}
				}
				a, b := sessions(t, ra, lb, mux.Config{}, mux.Config{})
				from, to := open(t, a, b, "file")
				other, otherEnd := open(t, a, b, "other")
				if !kernel {
					la.out.hold(true)
				}
				go func() { _, _ = from.ReadFrom(f) }()
				if !kernel {
					synctest.Wait()
					spoil(t, f, truncate)
					la.out.hold(false)
				}
				_, err := io.ReadAll(to)
				var reset *mux.ResetError
				if !errors.As(err, &reset) || reset.Code != framing.CodeFileChanged {
					t.Errorf("reader: %v, want a reset with code %d", err, framing.CodeFileChanged)
				}
				_, _ = other.Write([]byte("still here"))
				text := make([]byte, 10)
				if _, err := io.ReadFull(otherEnd, text); string(text) != "still here" || err != nil {
					t.Errorf("other channel: %q, %v", text, err)
				}
				idle(t)
				if a, b := a.Stats(), b.Stats(); a.FilesChanged != 1 || a.Files != 0 || b.Violations != 0 || b.LinksLost != 0 {
					t.Errorf("a %+v\nb %+v", a, b)
				}
			})
		}
	}
}

// TestFileDescriptorsAreBounded: many short runs hold no more descriptors than they may; the rest is copied.
func TestFileDescriptorsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		la, lb := wire(wireSize)
		a, b := sessions(t, &fileSide{side: la}, lb, mux.Config{}, mux.Config{})
		f, _ := randomFile(t, 40<<10)
		la.out.hold(true) // nothing is acknowledged
		open := make(chan struct{})
		go func() {
			for range 8 {
				r, err := b.Accept(t.Context())
				if err == nil {
					_, err = r.Accept()
				}
				if err != nil {
					t.Error(err)
				}
			}
			close(open)
		}()
		la.out.hold(false)
		var channels []*mux.Channel
		for range 8 {
			c, err := a.Open(t.Context(), "file")
			if err != nil {
				t.Fatal(err)
			}
			channels = append(channels, c)
		}
		<-open
		la.out.hold(true)
		for _, c := range channels {
			_ = c.SetWriteDeadline(time.Now().Add(time.Second))
			for range 20 {
				if _, err := f.Seek(0, io.SeekStart); err != nil {
					t.Fatal(err)
				}
				if _, err := c.ReadFrom(f); err != nil {
					break // its window
				}
			}
		}
		if n := a.Stats().Files; n == 0 || n > 64 {
			t.Errorf("%d descriptors held", n)
		}
		a.Close()
		b.Close()
		if n := a.Stats().Files; n != 0 {
			t.Errorf("%d descriptors held behind the end", n)
		}
	})
}
