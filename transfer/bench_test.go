package transfer

import (
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkTransfer is one file over loopback TCP, digests at both ends, no fsync.
// The allocations that grow with the file, four for each 256 KiB, are those of
// net's sendfile.
func BenchmarkTransfer(b *testing.B) {
	for _, bench := range []struct {
		name string
		size int
	}{{"1KiB", 1 << 10}, {"64MiB", 64 << 20}} {
		b.Run(bench.name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "f")
			if err := os.WriteFile(path, content(bench.size), 0o600); err != nil {
				b.Fatal(err)
			}
			src, err := NewSource(path)
			if err != nil {
				b.Fatal(err)
			}
			defer src.Close()
			dir, err := OpenDir(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer dir.Close()
			b.SetBytes(int64(bench.size))
			b.ReportAllocs()
			for b.Loop() {
				x, y := tcpPipe(b)
				sent := send(b.Context(), x, src, SendOptions{})
				res, err := receive(b.Context(), y, dir, AcceptOptions{NoSync: true})
				if err != nil {
					b.Fatal(err)
				}
				if out := <-sent; out.err != nil {
					b.Fatal(out.err)
				}
				if err := os.Remove(filepath.Join(dir.Path(), res.Name)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
