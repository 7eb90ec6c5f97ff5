package arq

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"traverse.internal/internal/lossy"
)

// pair makes two streams over a line.
func pair(t testing.TB, line lossy.Config, cfg Config) (a, b *Stream) {
	t.Helper()
	x, y := lossy.Pair(line)
	a, b = New(x, cfg), New(y, cfg)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// carry sends size random bytes from a to b and compares their digests.
func carry(t testing.TB, a, b *Stream, size int64) time.Duration {
	t.Helper()
	sum := make(chan []byte, 1)
	began := time.Now()
	go func() {
		h := sha256.New()
		_, err := io.Copy(h, io.LimitReader(rand.NewChaCha8([32]byte{1}), size))
		if err != nil {
			t.Error(err)
		}
		sum <- h.Sum(nil)
	}()
	go func() {
		buf := make([]byte, 64<<10)
		if _, err := io.CopyBuffer(onlyWriter{a}, io.LimitReader(rand.NewChaCha8([32]byte{1}), size), buf); err != nil {
			t.Error(err)
		}
		a.CloseWrite()
	}()
	h := sha256.New()
	n, err := io.CopyBuffer(h, onlyReader{b}, make([]byte, 64<<10))
	if err != nil || n != size {
		t.Fatalf("read %d bytes, %v; want %d", n, err, size)
	}
	if !bytes.Equal(h.Sum(nil), <-sum) {
		t.Fatal("the bytes differ")
	}
	return time.Since(began)
}

type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

func TestCarries(t *testing.T) {
	for _, c := range []struct {
		name string
		line lossy.Config
		size int64
	}{
		{"at once", lossy.Config{}, 64 << 20},
		{"loss 1 %", lossy.Config{Loss: 0.01}, 16 << 20},
		{"20 ms, loss 1 %", lossy.Config{Delay: 10 * time.Millisecond, Loss: 0.01}, 16 << 20},
		{"100 ms", lossy.Config{Delay: 50 * time.Millisecond}, 16 << 20},
		{"100 ms, loss 1 %", lossy.Config{Delay: 50 * time.Millisecond, Loss: 0.01}, 16 << 20},
		{"loss 20 %", lossy.Config{Delay: time.Millisecond, Loss: 0.2}, 1 << 20},
		{"20 Mbit/s, short queue", lossy.Config{Delay: 10 * time.Millisecond, Rate: 2.5e6, Queue: 64 << 10}, 4 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := pair(t, c.line, Config{})
			d := carry(t, a, b, c.size)
			t.Logf("%.1f MB/s, %+v", float64(c.size)/1e6/d.Seconds(), a.Stats())
		})
	}
}
