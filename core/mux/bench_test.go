package mux_test

import (
	"fmt"
	"io"
	"sync"
	"testing"

	"traverse.internal/core/mux"
)

// benchLinks are what benchmarks run over. On TCP a write is a system call; memory shows what is ours.
var benchLinks = []struct {
	name string
	make func(t testing.TB) (a, b io.ReadWriteCloser)
}{
	{"memory", func(testing.TB) (a, b io.ReadWriteCloser) { return toLinks(wire(1 << 20)) }},
	{"TCP", tcp},
}

// BenchmarkBulk moves MiBs over channels at once, as fast as the reader reads.
func BenchmarkBulk(b *testing.B) {
	for _, link := range benchLinks {
		for _, channels := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/%d channels", link.name, channels), func(b *testing.B) {
				la, lb := link.make(b)
				s, r := sessions(b, la, lb, mux.Config{}, mux.Config{})
				const piece = 1 << 20
				b.SetBytes(piece)
				b.ReportAllocs()
				var all sync.WaitGroup
				before := s.Stats()
				ends := make([][2]*mux.Channel, channels)
				for i := range ends {
					ends[i][0], ends[i][1] = open(b, s, r, "bulk")
				}
				b.ResetTimer()
				for i, end := range ends {
					n := b.N / channels
					if i == 0 {
						n += b.N % channels
					}
					all.Go(func() {
						p := make([]byte, 64<<10)
						for range n * (piece / len(p)) {
							if _, err := end[0].Write(p); err != nil {
								b.Error(err)
								return
							}
						}
						end[0].CloseWrite()
					})
					all.Go(func() {
						p := make([]byte, 64<<10)
						for {
							if _, err := end[1].Read(p); err != nil {
								return
							}
						}
					})
				}
				all.Wait()
				b.StopTimer()
				after := s.Stats()
				b.ReportMetric(float64(after.LinkWrites-before.LinkWrites)/float64(b.N), "writes/MiB")
				b.ReportMetric(float64(after.FramesOut-before.FramesOut)/float64(b.N), "frames/MiB")
			})
		}
	}
}

// BenchmarkSmallMessages queues short messages; how many go out in one write is what counts.
func BenchmarkSmallMessages(b *testing.B) {
	for _, link := range benchLinks {
		for _, size := range []int{100, 1024} {
			b.Run(fmt.Sprintf("%s/%d bytes", link.name, size), func(b *testing.B) {
				la, lb := link.make(b)
				s, r := sessions(b, la, lb, mux.Config{}, mux.Config{})
				from, to := open(b, s, r, "small")
				b.SetBytes(int64(size))
				b.ReportAllocs()
				before := s.Stats()
				b.ResetTimer()
				go func() {
					p := make([]byte, size)
					for range b.N {
						if _, err := from.Write(p); err != nil {
							b.Error(err)
							break
						}
					}
					from.CloseWrite()
				}()
				if _, err := io.Copy(io.Discard, to); err != nil {
					b.Error(err)
				}
				b.StopTimer()
				after := s.Stats()
				b.ReportMetric(float64(after.LinkWrites-before.LinkWrites)/float64(b.N), "writes/msg")
			})
		}
	}
}

// BenchmarkOpen opens and closes a channel on a live session: a round trip and the ends.
func BenchmarkOpen(b *testing.B) {
	for _, link := range benchLinks {
		b.Run(link.name, func(b *testing.B) {
			la, lb := link.make(b)
			s, r := sessions(b, la, lb, mux.Config{}, mux.Config{})
			go func() {
				for {
					req, err := r.Accept(b.Context())
					if err != nil {
						return
					}
					if ch, err := req.Accept(); err == nil {
						ch.Close()
					}
				}
			}()
			b.ReportAllocs()
			for b.Loop() {
				ch, err := s.Open(b.Context(), "open")
				if err != nil {
					b.Fatal(err)
				}
				ch.Close()
			}
		})
	}
}

// BenchmarkPing goes there and back on one channel.
func BenchmarkPing(b *testing.B) {
	for _, link := range benchLinks {
		b.Run(link.name, func(b *testing.B) {
			la, lb := link.make(b)
			s, r := sessions(b, la, lb, mux.Config{}, mux.Config{})
			from, to := open(b, s, r, "ping")
			go func() { _, _ = io.Copy(to, to) }()
			p := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := from.Write(p); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(from, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
