package tls

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"traverse.internal/core/ktls"
	"traverse.internal/core/zerocopy"
)

// sides runs a test with every mixture of ends in the kernel and not. Where the kernel has no TLS there is one.
func sides(t *testing.T, test func(t *testing.T, p *pair)) {
	for _, client := range []bool{false, true} {
		for _, server := range []bool{false, true} {
			t.Run(fmt.Sprintf("client in kernel %v, server %v", client, server), func(t *testing.T) {
				if (client || server) && !ktls.Available() {
					t.Skip("no kernel TLS here; internal/uml runs this in a kernel that has it")
				}
				test(t, pairOf(t, client, server))
			})
		}
	}
}

// largeFile makes a file of size bytes that do not repeat, and its hash.
func largeFile(t testing.TB, size int) (*os.File, [32]byte) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	hash := sha256.New()
	block := randomBytes(1 << 20)
	for left := size; left > 0; left -= len(block) {
		block = block[:min(left, len(block))]
		block[0]++
		if _, err := io.MultiWriter(f, hash).Write(block); err != nil {
			t.Fatal(err)
		}
	}
	return f, [32]byte(hash.Sum(nil))
}

// 16 MiB each way at once, 128 MiB where both ends are in the kernel, as the mux writes them, byte for byte; where the sender is in the kernel it is sendfile.
func TestBulkBothWays(t *testing.T) {
	sides(t, func(t *testing.T, p *pair) {
		size := 16 << 20
		if p.client.InKernel() && p.server.InKernel() {
			size = 128 << 20
		}
		f, want := largeFile(t, size)
		deadline := time.Now().Add(4 * time.Minute)
		began, cpu := time.Now(), usedCPU()
		var wg sync.WaitGroup
		for _, way := range []struct{ from, to *Link }{{p.client, p.server}, {p.server, p.client}} {
			_ = way.from.SetDeadline(deadline) // a kernel without AES instructions is slow
			wg.Go(func() {
				if err := sendAll(way.from, f, size); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				hash := sha256.New()
				n, err := io.CopyBuffer(hash, struct{ io.Reader }{way.to}, make([]byte, 64<<10))
				if err != nil || n != int64(size) || [32]byte(hash.Sum(nil)) != want {
					t.Errorf("%d bytes of %d arrived, %v, or other ones", n, size, err)
				}
			})
		}
		wg.Wait()
		gib := 2 * float64(size) / (1 << 30)
		t.Logf("measured: %d MiB each way in %v, %.2f CPU s/GiB of both ends and SHA-256",
			size>>20, time.Since(began).Round(time.Millisecond), (usedCPU()-cpu).Seconds()/gib)
	})
}

// usedCPU is the process's time on processors.
func usedCPU() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// sendAll sends the file in pieces of the mux's size, then the end.
func sendAll(l *Link, f *os.File, size int) error {
	const piece = 65536
	buf := make([]byte, piece)
	for at := 0; at < size; at += piece {
		n := min(piece, size-at)
		if _, err := f.ReadAt(buf[:4], int64(at)); err != nil {
			return err
		}
		var sent int
		var err error
		if l.SendsFiles() {
			sent, err = l.SendFile(buf[:4], f, int64(at)+4, n-4)
		} else {
			if _, err := f.ReadAt(buf[:n], int64(at)); err != nil {
				return err
			}
			sent, err = l.Write(buf[:n])
		}
		if err != nil || sent != n {
			return fmt.Errorf("sent %d of %d at %d: %w", sent, n, at, err)
		}
	}
	return l.CloseWrite()
}

// An end that is said is io.EOF, in all mixtures, and the other direction goes on.
func TestEndsAreSaid(t *testing.T) {
	sides(t, func(t *testing.T, p *pair) {
		if _, err := p.client.Write([]byte("last words")); err != nil {
			t.Fatal(err)
		}
		if err := p.client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := p.client.Write([]byte("more")); err == nil {
			t.Error("Write behind CloseWrite: no error")
		}
		one := make([]byte, 1) // an alert of two bytes comes into a buffer of one
		var got []byte
		var err error
		for err == nil {
			var n int
			n, err = p.server.Read(one)
			got = append(got, one[:n]...)
		}
		if string(got) != "last words" || err != io.EOF {
			t.Fatalf("server read %q, %v, want the words and io.EOF", got, err)
		}
		if _, err := p.server.Read(one); err != io.EOF {
			t.Errorf("again: %v, want io.EOF", err)
		}
		if _, err := p.server.Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
		if err := p.server.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(p.client); string(got) != "answer" || err != nil {
			t.Fatalf("client read %q, %v, want the answer and a clean end", got, err)
		}
	})
}

// An end that nobody said is ErrTruncated, in all mixtures.
func TestCutsAreNotEnds(t *testing.T) {
	sides(t, func(t *testing.T, p *pair) {
		if _, err := p.client.Write([]byte("half of it")); err != nil {
			t.Fatal(err)
		}
		p.clientRaw.Close()
		got, err := io.ReadAll(p.server)
		if string(got) != "half of it" || !errors.Is(err, ErrTruncated) {
			t.Fatalf("read %q, %v, want the half and ErrTruncated", got, err)
		}
	})
}

// A file that is shorter than was said: what it has leaves, and the link is whole behind it.
func TestShorterFile(t *testing.T) {
	sides(t, func(t *testing.T, p *pair) {
		if !p.client.SendsFiles() {
			t.Skip("copies")
		}
		f, _ := largeFile(t, 40_000)
		sent, err := p.client.SendFile([]byte("head"), f, 10_000, 60_000)
		var short *zerocopy.FileError
		if sent != 30_004 || !errors.As(err, &short) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("SendFile: %d, %v, want 30004 and the file's end", sent, err)
		}
		if _, err := p.client.Write([]byte("behind")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, sent+6)
		if _, err := io.ReadFull(p.server, got); err != nil {
			t.Fatal(err)
		}
		want := make([]byte, 30_000)
		if _, err := f.ReadAt(want, 10_000); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, append(append([]byte("head"), want...), "behind"...)) {
			t.Error("other bytes arrived")
		}
	})
}

// No key seals more records than it may; the link says so before.
func TestKeyLimit(t *testing.T) {
	sides(t, func(t *testing.T, p *pair) {
		p.client.keyLimit = 5
		if _, err := p.client.Write(make([]byte, 60<<10)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.client.Write(make([]byte, 20<<10)); !errors.Is(err, ErrKeyLimit) {
			t.Errorf("Write of the 5th and 6th record: %v, want ErrKeyLimit", err)
		}
		if _, err := p.client.Write([]byte("last")); err != nil {
			t.Error(err)
		}
		if _, err := p.client.SendFile(nil, nil, 0, 1); p.client.SendsFiles() && !errors.Is(err, ErrKeyLimit) {
			t.Errorf("SendFile: %v, want ErrKeyLimit", err)
		}
	})
}

// Bytes that were read together with the handshake keep the record layer here.
func TestReadAheadStaysHere(t *testing.T) {
	c := newCarrier(nil, []byte{1})
	if c.exact() {
		t.Error("a byte that nobody has used, and exact")
	}
	if _, err := c.records.Source.Read(make([]byte, 1)); err != nil || !c.exact() {
		t.Errorf("exact is %v, %v", c.exact(), err)
	}
}
